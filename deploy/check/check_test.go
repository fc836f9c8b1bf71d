package main

import (
	"strings"
	"testing"
)

// What must be refused, and a part of the reason. A checker that accepts
// everything would pass over our own manifests just as well.
func TestWrongObjectsAreRefused(t *testing.T) {
	const pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers: [{name: a, image: a}]\n"
	for name, test := range map[string]struct{ object, reason string }{
		"unknown field":           {"apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {prots: []}\n", `unknown field "prots"`},
		"key given twice":         {"apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 1}], ports: []}\n", "already set"},
		"required field":          {"apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{name: http}]}\n", "missing property 'port'"},
		"wrong type":              {"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {replicas: two}\n", "cannot unmarshal"},
		"unknown kind":            {"apiVersion: v1\nkind: Gateway\nmetadata: {name: a}\n", "no kind \"Gateway\""},
		"namespace without label": {"apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n", "enforce is not restricted"},
		"pod that may be root":    {pod, "pod security restricted"},
		"pod with a token":        {pod, "automountServiceAccountToken"},
		"pod that may write":      {pod, "readOnlyRootFilesystem"},
	} {
		t.Run(name, func(t *testing.T) {
			checker, err := newManifestChecker("")
			if err != nil {
				t.Fatal(err)
			}
			_, problems := checker.checkObject([]byte(test.object))
			if !strings.Contains(strings.Join(problems, "\n"), test.reason) {
				t.Errorf("%q is not in %q", test.reason, problems)
			}
		})
	}
}

func TestWrongDockerfilesAreRefused(t *testing.T) {
	for name, test := range map[string]struct{ file, reason string }{
		"unknown instruction":       {"FROM a\nFORM b\n", "unknown instruction"},
		"root":                      {"FROM a\nENTRYPOINT [\"a\"]\n", "not a number above 0"},
		"user by name":              {"FROM a\nUSER nonroot\nENTRYPOINT [\"a\"]\n", "not a number above 0"},
		"shell form":                {"FROM a\nUSER 1\nENTRYPOINT a\n", "exec form"},
		"command in the last stage": {"FROM a\nRUN b\nUSER 1\nENTRYPOINT [\"a\"]\n", "runs a command"},
		"mixed case":                {"FROM a as b\nUSER 1\nENTRYPOINT [\"a\"]\n", "FromAsCasing"},
	} {
		t.Run(name, func(t *testing.T) {
			problems := checkDockerfile([]byte(test.file))
			if !strings.Contains(strings.Join(problems, "\n"), test.reason) {
				t.Errorf("%q is not in %q", test.reason, problems)
			}
		})
	}
}
