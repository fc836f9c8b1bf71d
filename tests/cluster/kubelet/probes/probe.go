// Package probes asks containers how they are, from the node's network as a kubelet does.
package probes

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Target is the container that is asked.
type Target struct {
	// Address is the pod's.
	Address string
	Ports   []v1.ContainerPort
	// Run runs a command in the container and returns its exit code and output.
	Run func(ctx context.Context, command []string) (int32, []byte, error)
}

// Ask asks once. It returns nil where the container is well.
//
// # Errors
//
// What the container answered, in the words of a kubelet's event.
func Ask(ctx context.Context, handler *v1.ProbeHandler, target *Target) error {
	switch {
	case handler.HTTPGet != nil:
		return Get(ctx, handler.HTTPGet, target)
	case handler.TCPSocket != nil:
		return connect(ctx, handler.TCPSocket, target)
	case handler.GRPC != nil:
		return checkGRPC(ctx, handler.GRPC, target)
	case handler.Exec != nil:
		return execute(ctx, handler.Exec.Command, target)
	}
	return fmt.Errorf("probe has no handler")
}

// userAgent is what servers know a kubelet by.
const userAgent = "kube-probe/1.37"

// Get asks by HTTP, for a probe or a hook. Certificates are not verified, since there is no name to verify.
func Get(ctx context.Context, action *v1.HTTPGetAction, target *Target) error {
	port, err := target.port(action.Port)
	if err != nil {
		return err
	}
	address := target.Address
	if action.Host != "" {
		address = action.Host
	}
	location, err := url.Parse(action.Path)
	if err != nil {
		return fmt.Errorf("httpGet.path: %w", err)
	}
	location.Scheme = strings.ToLower(string(action.Scheme))
	if location.Scheme == "" {
		location.Scheme = "http"
	}
	location.Host = net.JoinHostPort(address, port)
	if !strings.HasPrefix(location.Path, "/") {
		location.Path = "/" + location.Path
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, location.String(), nil)
	if err != nil {
		return err
	}
	request.Header.Set("User-Agent", userAgent)
	request.Header.Set("Accept", "*/*")
	for _, header := range action.HTTPHeaders {
		if strings.EqualFold(header.Name, "host") {
			request.Host = header.Value
		} else {
			request.Header.Add(header.Name, header.Value)
		}
	}
	response, err := client().Do(request)
	if err != nil {
		return err
	}
	response.Body.Close()
	if response.StatusCode < 200 || response.StatusCode >= 400 {
		return fmt.Errorf("HTTP probe failed with statuscode: %d", response.StatusCode)
	}
	return nil
}

// client makes a connection for each probe, so that none finds the server by a connection of before.
func client() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DisableKeepAlives:  true,
			DisableCompression: true,
			Proxy:              nil,
			TLSClientConfig:    &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // as a kubelet
		},
		// A redirect to elsewhere is an answer; one to the same host is followed.
		CheckRedirect: func(next *http.Request, before []*http.Request) error {
			if next.URL.Hostname() != before[0].URL.Hostname() || len(before) >= 10 {
				return http.ErrUseLastResponse
			}
			return nil
		},
	}
}

func connect(ctx context.Context, action *v1.TCPSocketAction, target *Target) error {
	port, err := target.port(action.Port)
	if err != nil {
		return err
	}
	address := target.Address
	if action.Host != "" {
		address = action.Host
	}
	connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(address, port))
	if err != nil {
		return err
	}
	return connection.Close()
}

func execute(ctx context.Context, command []string, target *Target) error {
	code, output, err := target.Run(ctx, command)
	if err != nil {
		return err
	}
	if code != 0 {
		return fmt.Errorf("command %q exited with %d: %s", command, code, output)
	}
	return nil
}

// port resolves the name of a port of the container.
func (target *Target) port(port intstr.IntOrString) (string, error) {
	if port.Type == intstr.Int {
		return strconv.Itoa(port.IntValue()), nil
	}
	for _, candidate := range target.Ports {
		if candidate.Name == port.StrVal {
			return strconv.Itoa(int(candidate.ContainerPort)), nil
		}
	}
	if _, err := strconv.Atoi(port.StrVal); err == nil {
		return port.StrVal, nil
	}
	return "", fmt.Errorf("port %q is not a port of the container", port.StrVal)
}

// seconds turns a field of a probe into a duration; 0 stands for the API's default.
func seconds(value, otherwise int32) time.Duration {
	if value == 0 {
		value = otherwise
	}
	return time.Duration(value) * time.Second
}
