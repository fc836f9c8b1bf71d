package front

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func load(t *testing.T, text string) (map[string][]string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "images.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	table, err := loadImages(path, "/components", "/harness")
	commands := map[string][]string{}
	for name, image := range table {
		commands[name] = image.Command
	}
	return commands, err
}

func TestImagesOfATestStandBesideTheUsualOnes(t *testing.T) {
	table, err := load(t, "example.test/a:1: {command: [/bin/sh, -c, exit], env: {A: b}}\n")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"example.test/a:1": "/bin/sh -c exit", BackendImage: "/harness/backend", "coredns": "/components/coredns",
	} {
		if got := strings.Join(table[name], " "); got != want {
			t.Errorf("%s is %q, not %q", name, got, want)
		}
	}
	table, err = load(t, "coredns: {command: [/bin/true]}\n")
	if err != nil || table["coredns"][0] != "/bin/true" {
		t.Errorf("a test cannot bring its own coredns: %v, %v", table, err)
	}
}

func TestWrongImagesAreRefusedByName(t *testing.T) {
	for text, reason := range map[string]string{
		"a: {comand: [/bin/true]}":   `unknown field "comand"`,
		"a: {command: []}":           "a.command: is empty",
		"a: {command: [\"true\"]}":   `a.command[0]: "true" is not an absolute path`,
		"a: {command: [/not/there]}": "a.command[0]: stat /not/there",
	} {
		if _, err := load(t, text+"\n"); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%s: %v does not say %q", text, err, reason)
		}
	}
}
