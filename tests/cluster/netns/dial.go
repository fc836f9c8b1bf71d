package netns

import (
	"context"
	"fmt"
	"net"
)

// Dial returns a function for net/http and others that connects from the namespace at path.
//
// It takes addresses, not names: what looks up a name does so on other threads, which are in the caller's namespace.
func Dial(path string) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (connection net.Conn, err error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		if net.ParseIP(host) == nil {
			return nil, fmt.Errorf("dial from a network namespace: %q is not an address", host)
		}
		err = Do(path, func() (err error) {
			connection, err = new(net.Dialer).DialContext(ctx, network, address)
			return err
		})
		return connection, err
	}
}
