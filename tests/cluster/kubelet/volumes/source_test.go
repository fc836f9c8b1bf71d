package volumes

import (
	"io/fs"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
)

func TestItemsSayPathsAndModes(t *testing.T) {
	data := map[string][]byte{"a": []byte("1"), "b": []byte("2")}
	common, own := int32(0o440), int32(0o400)
	tree := Tree{}
	items := []v1.KeyToPath{{Key: "a", Path: "x/./y", Mode: &own}, {Key: "b", Path: "b"}}
	if err := addItems(tree, "Secret s", data, items, &common, false); err != nil {
		t.Fatal(err)
	}
	if len(tree) != 2 || tree["x/y"].Mode != 0o400 || string(tree["x/y"].Data) != "1" || tree["b"].Mode != 0o440 {
		t.Errorf("%v", tree)
	}
	tree = Tree{}
	if err := addItems(tree, "Secret s", data, nil, nil, false); err != nil || len(tree) != 2 || tree["a"].Mode != 0o644 {
		t.Errorf("without items: %v (%v)", tree, err)
	}
	missing := []v1.KeyToPath{{Key: "c", Path: "c"}}
	if err := addItems(Tree{}, "Secret s", data, missing, nil, false); err == nil || !strings.Contains(err.Error(), `Secret s has no key "c"`) {
		t.Errorf("a key that is missing: %v", err)
	}
	if err := addItems(Tree{}, "Secret s", data, missing, nil, true); err != nil {
		t.Errorf("a key that is missing and optional: %v", err)
	}
}

func TestATokenIsKeptToTheOneUserOfAPod(t *testing.T) {
	number := func(value int64) *int64 { return &value }
	container := func(user *int64) v1.Container {
		return v1.Container{SecurityContext: &v1.SecurityContext{RunAsUser: user}}
	}
	for name, test := range map[string]struct {
		pod        *v1.PodSecurityContext
		containers []v1.Container
		mode       fs.FileMode
		user       int
	}{
		"nothing said":  {nil, []v1.Container{{}}, 0o644, 0},
		"one user":      {&v1.PodSecurityContext{RunAsUser: number(7)}, []v1.Container{{}, container(number(7))}, 0o600, 7},
		"several users": {&v1.PodSecurityContext{RunAsUser: number(7)}, []v1.Container{{}, container(number(8))}, 0o644, 0},
		"a group":       {&v1.PodSecurityContext{RunAsUser: number(7), FSGroup: number(9)}, []v1.Container{{}}, 0o600, 0},
	} {
		pod := &v1.Pod{Spec: v1.PodSpec{SecurityContext: test.pod, Containers: test.containers}}
		if mode, user := tokenOwner(pod, 0o644); mode != test.mode || user != test.user {
			t.Errorf("%s: %o of %d, not %o of %d", name, mode, user, test.mode, test.user)
		}
	}
}
