package images

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestCommandAndArgsOverrideAsEntrypointAndCmd(t *testing.T) {
	image := Image{Command: []string{"/entry"}, Args: []string{"cmd"}}
	for _, test := range []struct{ command, args, want []string }{
		{nil, nil, []string{"/entry", "cmd"}},
		{nil, []string{"a"}, []string{"/entry", "a"}},
		{[]string{"/other"}, nil, []string{"/other"}},
		{[]string{"/other"}, []string{"a"}, []string{"/other", "a"}},
	} {
		if got := image.Invocation(test.command, test.args); !slices.Equal(got, test.want) {
			t.Errorf("command %q, args %q: %q, not %q", test.command, test.args, got, test.want)
		}
	}
}

func TestMistakesInTheTableAreNamedWithTheirFile(t *testing.T) {
	for text, want := range map[string]string{
		"a: {comand: [x]}": `unknown field "comand"`,
		"a: {args: [x]}":   `"a" has no command`,
	} {
		path := filepath.Join(t.TempDir(), "images.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, err := Table{path}.Find("a")
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v does not say %s of %s", text, err, want, path)
		}
	}
}
