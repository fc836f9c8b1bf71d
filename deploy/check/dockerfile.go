package main

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// checkDockerfile parses a Dockerfile as BuildKit does, turns on the lint rules
// that need no image, and asks of the last stage what our manifests rely on: a
// numeric user that is not root, and an entry point that needs no shell.
func checkDockerfile(text []byte) []string {
	var problems []string
	rules := linter.New(&linter.Config{Warn: func(rule, _, _, message string, at []parser.Range) {
		problems = append(problems, fmt.Sprintf("%s%s: %s", line(at), rule, message))
	}})
	file, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		return []string{err.Error()}
	}
	for _, warning := range file.Warnings {
		problems = append(problems, warning.Short)
	}
	stages, _, err := instructions.Parse(file.AST, rules)
	if err != nil {
		return append(problems, err.Error())
	}
	if len(stages) == 0 {
		return append(problems, "no stage")
	}
	var user string
	shellForm := true
	for _, command := range stages[len(stages)-1].Commands {
		switch command := command.(type) {
		case *instructions.UserCommand:
			user = command.User
		case *instructions.EntrypointCommand:
			shellForm = command.PrependShell
		case *instructions.RunCommand:
			problems = append(problems, "the last stage runs a command, which its image has no shell for")
		}
	}
	if number := strings.SplitN(user, ":", 2)[0]; number == "" || number == "0" || strings.Trim(number, "0123456789") != "" {
		problems = append(problems, fmt.Sprintf("USER %q of the last stage is not a number above 0, so runAsNonRoot cannot be checked", user))
	}
	if shellForm {
		problems = append(problems, "the last stage has no ENTRYPOINT in exec form")
	}
	return problems
}

func line(at []parser.Range) string {
	if len(at) == 0 {
		return ""
	}
	return fmt.Sprintf("line %d: ", at[0].Start.Line)
}
