package front

import (
	"fmt"
	"net"

	"portcullis/tests/cluster/supervise"
)

// listen answers requests on a unix socket, a JSON object in a line each, see supervise.Request.
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
