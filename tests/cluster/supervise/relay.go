package supervise

import (
	"io"
	"net"

	"portcullis/tests/cluster/plan"
)

// relay passes connections of the machine on to the API server. The listener was made before the network namespace and
// still belongs to the machine's loopback; what is dialled belongs to the cluster. So the machine's network gets no link
// and no route from us.
func relay(listener net.Listener) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return // closed at the end
		}
		go func() {
			defer client.Close()
			server, err := net.Dial("tcp", net.JoinHostPort(plan.Core, plan.APIPort))
			if err != nil {
				return // the client sees its connection closed, as with an API server that is away
			}
			defer server.Close()
			go func() {
				defer server.(*net.TCPConn).CloseWrite()
				io.Copy(server, client)
			}()
			io.Copy(client, server)
		}()
	}
}
