package front

import (
	"encoding/json"
	"fmt"
	"net"

	"portcullis/tests/cluster/supervise"
)

// controlFile, in the folder of a run, is its socket.
const controlFile = "control"

// Reply is the answer to one request.
type Reply struct {
	supervise.Reply
	Processes []Process `json:"processes,omitempty"`
}

// listen answers requests on a unix socket, a JSON object in a line each, see answer.
func listen(path string, cluster *inside, ended chan<- string) (net.Listener, error) {
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return // closed at the end
			}
			go func() {
				defer connection.Close()
				for line := range lines(connection) {
					if _, err := connection.Write(supervise.Line(answer(cluster, line, ended))); err != nil {
						return
					}
				}
			}()
		}
	}()
	return listener, nil
}

// answer answers one line of a client: what the supervisor knows, and
//
//	processes   all processes of the cluster, those of pods too
//	end         ends the cluster
func answer(cluster *inside, line string, ended chan<- string) Reply {
	var request supervise.Request
	if err := json.Unmarshal([]byte(line), &request); err != nil {
		return failure(fmt.Errorf("request %q: %w", line, err))
	}
	switch request.Do {
	case "processes":
		all, err := processes(cluster.process.Process.Pid, cluster.group)
		if err != nil {
			return failure(err)
		}
		return Reply{Reply: supervise.Reply{OK: true}, Processes: all}
	case "end":
		select {
		case ended <- "asked to":
		default: // it ends already
		}
		return Reply{Reply: supervise.Reply{OK: true}}
	default:
		reply, err := cluster.ask(request)
		if err != nil {
			return failure(err)
		}
		return Reply{Reply: reply}
	}
}

func failure(err error) Reply { return Reply{Reply: supervise.Reply{Error: err.Error()}} }
