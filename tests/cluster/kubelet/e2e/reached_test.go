package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// kubectl is one that is yet to be started, for a namespace. It ends with the test.
func (c *cluster) kubectl(t *testing.T, namespace string, arguments ...string) *exec.Cmd {
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	command := exec.CommandContext(ctx, filepath.Join(c.Binaries, "kubectl"), append([]string{"-n", namespace}, arguments...)...)
	command.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig)
	return command
}

// reached is what kubectl asks the kubelet for, through the API server.
func reached(t *testing.T, c *cluster) {
	namespace := c.create(t, `
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: talks, image: sh, args: ["echo begun; trap 'echo over; exit 0' TERM; while :; do sleep 0.1; done"]}
  - {name: web, image: web, args: ["--directory", /var/empty]}
`)
	c.until(t, namespace, "p", 30*time.Second, isReady)
	t.Run("exec", func(t *testing.T) {
		command := c.kubectl(t, namespace, "exec", "-i", "p", "-c", "talks", "--", "sh", "-c", "cat; hostname; echo wrong >&2; exit 7")
		var output, problems bytes.Buffer
		command.Stdin, command.Stdout, command.Stderr = strings.NewReader("told\n"), &output, &problems
		err := command.Run()
		if code := command.ProcessState.ExitCode(); code != 7 || output.String() != "told\np\n" ||
			!strings.HasPrefix(problems.String(), "wrong\n") {
			t.Errorf("%v: %q, %q", err, output.String(), problems.String())
		}
	})
	t.Run("exec with a terminal", func(t *testing.T) {
		// It has the size of the one that kubectl is in, which script(1) makes, and goes to the end of what is asked.
		inside := `tty -s; echo terminal=$?; until [ "$(stty size)" = "45 123" ]; do sleep 0.1; done; read line; echo got=$line; exit 3`
		kubectl := c.kubectl(t, namespace, "exec", "-it", "p", "-c", "talks", "--", "sh", "-c", "'"+inside+"'")
		line := "stty rows 45 cols 123; " + strings.Join(kubectl.Args, " ")
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		command := exec.CommandContext(ctx, "script", "--quiet", "--return", "--command", line, "/dev/null")
		command.Env = append(kubectl.Env, "SHELL=/bin/sh")
		// It stays open, as whoever sits there does not go away.
		input, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer input.Close()
		defer write.Close()
		if _, err := write.WriteString("told\n"); err != nil {
			t.Fatal(err)
		}
		command.Stdin = input
		said, err := command.CombinedOutput()
		for _, want := range []string{"terminal=0\r\n", "got=told\r\n"} {
			if !strings.Contains(string(said), want) {
				t.Errorf("%v: %q does not say %q", err, said, want)
			}
		}
		if code := command.ProcessState.ExitCode(); code != 3 {
			t.Errorf("%v: ended with %d", err, code)
		}
	})
	t.Run("what is not there is refused", func(t *testing.T) {
		for want, arguments := range map[string][]string{
			"container none is not valid": {"exec", "p", "-c", "none", "--", "true"},
			"no-such-program":             {"exec", "p", "-c", "talks", "--", "no-such-program"},
			"logs with tailLines":         {"logs", "p", "-c", "talks", "--tail=1"},
		} {
			said, err := c.kubectl(t, namespace, arguments...).CombinedOutput()
			if err == nil || !strings.Contains(string(said), want) {
				t.Errorf("%q: %v, %s", arguments, err, said)
			}
		}
	})
	t.Run("port-forward", func(t *testing.T) {
		command := c.kubectl(t, namespace, "port-forward", "p", ":80")
		output, err := command.StdoutPipe()
		if err == nil {
			err = command.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		said := make([]byte, 1024)
		length, _ := output.Read(said)
		port := regexp.MustCompile(`127\.0\.0\.1:(\d+) -> 80`).FindSubmatch(said[:length])
		if port == nil {
			t.Fatalf("kubectl says %s", said[:length])
		}
		eventually(t, 10*time.Second, func() error {
			answer, err := http.Get("http://127.0.0.1:" + string(port[1]) + "/no-such-file")
			if err != nil {
				return err
			}
			answer.Body.Close()
			if answer.StatusCode != http.StatusNotFound {
				return fmt.Errorf("answered with %s", answer.Status)
			}
			return nil
		})
	})
	t.Run("logs are followed to the end", func(t *testing.T) {
		command := c.kubectl(t, namespace, "logs", "-f", "p", "-c", "talks")
		output, err := command.StdoutPipe()
		if err == nil {
			err = command.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		begun := make([]byte, len("begun\n"))
		if _, err := io.ReadFull(output, begun); err != nil || string(begun) != "begun\n" {
			t.Fatalf("%q, %v", begun, err)
		}
		if said, err := c.kubectl(t, namespace, "delete", "pod", "p", "--wait=false").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, said)
		}
		rest, err := io.ReadAll(output)
		if err != nil || string(rest) != "over\n" {
			t.Errorf("%q, %v", rest, err)
		}
	})
}
