package server

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"

	"portcullis/tests/cluster/kubelet/container"
	"portcullis/tests/cluster/kubelet/lifecycle"
)

// idle is how long a session may say nothing, as with other kubelets.
const idle = 4 * time.Hour

// reached is a pod as the protocols know it.
type reached struct{ *lifecycle.Pod }

// exec runs a command in a container, with its streams.
func (server *Server) exec(writer http.ResponseWriter, request *http.Request) {
	pod := server.pod(writer, request)
	if pod == nil {
		return
	}
	options, err := remotecommand.NewOptions(request)
	if err != nil {
		http.Error(writer, err.Error(), http.StatusBadRequest)
		return
	}
	remotecommand.ServeExec(writer, request, reached{pod}, request.PathValue("pod"), "", request.PathValue("container"),
		request.URL.Query()["command"], options, idle, remotecommand.DefaultStreamCreationTimeout,
		remotecommand.SupportedStreamingProtocols)
}

// ExecInContainer implements [remotecommand.Executor].
func (pod reached) ExecInContainer(
	ctx context.Context, _, _, name string, command []string, in io.Reader, out, problems io.WriteCloser,
	isTerminal bool, resize <-chan remotecommand.TerminalSize, _ time.Duration,
) error {
	code, err := pod.Exec(name, command, func(running *container.Running, process *container.Process) (int32, error) {
		if !isTerminal {
			return running.Stream(ctx, process, in, plain(out), plain(problems))
		}
		return running.Terminal(ctx, process, in, plain(out), func(set func(width, height uint16)) {
			for size := range resize {
				set(size.Width, size.Height)
			}
		})
	})
	if err == nil && code != 0 {
		err = utilexec.CodeExitError{Err: fmt.Errorf("exit code %d", code), Code: int(code)}
	}
	return err
}

// plain is a stream that may not be there.
func plain(stream io.WriteCloser) io.Writer {
	if stream == nil {
		return nil
	}
	return stream
}

// portForward connects streams to ports of a pod.
func (server *Server) portForward(writer http.ResponseWriter, request *http.Request) {
	pod := server.pod(writer, request)
	if pod == nil {
		return
	}
	options, err := portforward.NewV4Options(request)
	if err != nil {
		http.Error(writer, err.Error(), http.StatusBadRequest)
		return
	}
	portforward.ServePortForward(writer, request, reached{pod}, request.PathValue("pod"), "", options, idle,
		remotecommand.DefaultStreamCreationTimeout, portforward.SupportedProtocols)
}

// PortForward implements [portforward.PortForwarder]: it copies until both sides have ended, or one fails.
func (pod reached) PortForward(ctx context.Context, _, _ string, port int32, stream io.ReadWriteCloser) error {
	defer stream.Close()
	connection, err := pod.Dial(ctx, uint16(port))
	if err != nil {
		return err
	}
	defer connection.Close()
	go func() {
		_, err := io.Copy(connection, stream)
		if half, ok := connection.(interface{ CloseWrite() error }); ok && err == nil {
			_ = half.CloseWrite()
			return
		}
		connection.Close()
	}()
	_, err = io.Copy(stream, connection)
	return err
}
