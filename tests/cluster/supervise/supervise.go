package supervise

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"time"
)

// startLimit bounds the start of one component on a busy machine.
const startLimit = 2 * time.Minute

// cluster is the running cluster.
type cluster struct {
	processes []*Process
	files     *files
	steps     []Step
}

// Supervise starts the cluster by the settings that it reads from standard input, says on standard output that it is
// ready, and answers requests until its input ends. Inherited file 3 is the listener for the API server on the machine.
func Supervise() error {
	input := bufio.NewScanner(os.Stdin)
	input.Buffer(nil, 16<<20)
	if !input.Scan() {
		return fmt.Errorf("no settings on standard input")
	}
	var settings Settings
	if err := json.Unmarshal(input.Bytes(), &settings); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	file := os.NewFile(3, "API listener")
	listener, err := net.FileListener(file)
	if err != nil {
		return fmt.Errorf("listener for the API server: %w", err)
	}
	file.Close()
	go relay(listener)

	cluster, err := start(settings)
	if err != nil {
		os.Stdout.Write(Line(Ready{Error: err.Error()}))
		return err
	}
	os.Stdout.Write(Line(Ready{
		Kubeconfig:       string(cluster.files.HostKubeconfig),
		InsideKubeconfig: string(cluster.files.InsideKubeconfig),
		PIDs:             cluster.pids(),
		Steps:            cluster.steps,
	}))
	for input.Scan() {
		var request Request
		reply := Reply{}
		if err := json.Unmarshal(input.Bytes(), &request); err != nil {
			reply.Error = fmt.Sprintf("request %q: %v", input.Bytes(), err)
		} else {
			began := time.Now()
			reply = cluster.answer(request)
			reply.MS = time.Since(began).Milliseconds()
		}
		os.Stdout.Write(Line(reply))
	}
	return input.Err()
}

// start brings up everything and returns when pods can be made.
func start(settings Settings) (*cluster, error) {
	c := &cluster{}
	if err := c.step("network", makeNetwork); err != nil {
		return nil, err
	}
	err := c.step("files", func() (err error) {
		c.files, err = writeFiles(settings)
		return err
	})
	if err != nil {
		return nil, err
	}
	c.processes = components(settings)
	for _, process := range c.processes {
		// The others come up side by side; only these two are needed by all that follow.
		if process.Healthy == nil {
			if err := process.Start(complain); err != nil {
				return nil, err
			}
			continue
		}
		err := c.step(process.Name, func() error {
			if err := process.Start(complain); err != nil {
				return err
			}
			return process.WaitHealthy(startLimit)
		})
		if err != nil {
			return nil, err
		}
	}
	if err := c.step("dns", applyDNS); err != nil {
		return nil, err
	}
	return c, c.step("nodes, service accounts and dns", c.waitReady)
}

func (c *cluster) step(name string, function func() error) error {
	began := time.Now()
	err := function()
	c.steps = append(c.steps, Step{Name: name, MS: time.Since(began).Milliseconds()})
	return err
}

// complain tells that a component ended and nobody had asked for it.
func complain(err error) { fmt.Fprintf(os.Stderr, "cluster: %v\n", err) }

func (c *cluster) pids() map[string]int {
	pids := map[string]int{}
	for _, process := range c.processes {
		if pid := process.PID(); pid != 0 {
			pids[process.Name] = pid
		}
	}
	return pids
}
