package supervise

import (
	"fmt"
	"strings"
	"syscall"
)

// answer does what a request asks for:
//
//	stop NAME      asks the component to end, and kills it after 10 s
//	kill NAME      SIGKILL
//	start NAME     starts it, and returns when it does its work
//	restart NAME   stop and start
//	pause NAME     SIGSTOP: connections stay open and nothing answers
//	resume NAME    SIGCONT
//	compact        etcd forgets all but the present: watches from older resourceVersions end with 410, as far as the
//	               API server's own cache does not have them; restart it as well to be sure
//	images         adds to the table of images
//	pids           the components that run
func (c *cluster) answer(request Request) Reply {
	if request.Do == "pids" {
		return Reply{OK: true, PIDs: c.pids()}
	}
	if request.Do == "compact" {
		revision, err := compact()
		return outcome(err, Reply{Revision: revision})
	}
	if request.Do == "images" {
		return outcome(addImages(request.Images), Reply{})
	}
	process, err := c.find(request.Name)
	if err != nil {
		return outcome(err, Reply{})
	}
	switch request.Do {
	case "stop":
		err = process.Stop(false)
	case "kill":
		err = process.Stop(true)
	case "start":
		err = begin(process)
	case "restart":
		if err = process.Stop(false); err == nil {
			err = begin(process)
		}
	case "pause":
		err = process.Signal(syscall.SIGSTOP)
	case "resume":
		err = process.Signal(syscall.SIGCONT)
	default:
		err = fmt.Errorf("%q is not one of stop, kill, start, restart, pause, resume, compact, images, pids", request.Do)
	}
	return outcome(err, Reply{PIDs: c.pids()})
}

func begin(process *Process) error {
	if err := process.Start(complain); err != nil {
		return err
	}
	return process.WaitHealthy(startLimit)
}

func (c *cluster) find(name string) (*Process, error) {
	var names []string
	for _, process := range c.processes {
		if process.Name == name {
			return process, nil
		}
		names = append(names, process.Name)
	}
	return nil, fmt.Errorf("component %q is not one of %s", name, strings.Join(names, ", "))
}

func outcome(err error, reply Reply) Reply {
	if err != nil {
		reply.Error = err.Error()
	}
	reply.OK = err == nil
	return reply
}
