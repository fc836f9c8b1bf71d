package probes

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"

	v1 "k8s.io/api/core/v1"
)

// servingAnswer is HealthCheckResponse{status: SERVING} of grpc.health.v1 in a frame of gRPC.
var servingAnswer = []byte{0, 0, 0, 0, 2, 1 << 3, 1}

// checkGRPC calls grpc.health.v1.Health/Check. Two messages of one field each need no library.
func checkGRPC(ctx context.Context, action *v1.GRPCAction, target *Target) error {
	service := ""
	if action.Service != nil {
		service = *action.Service
	}
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: &protocols, DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	location := "http://" + net.JoinHostPort(target.Address, strconv.Itoa(int(action.Port))) + "/grpc.health.v1.Health/Check"
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, location, bytes.NewReader(healthRequest(service)))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/grpc")
	request.Header.Set("TE", "trailers")
	request.Header.Set("User-Agent", userAgent)
	response, err := transport.RoundTrip(request)
	if err != nil {
		return fmt.Errorf("service unhealthy: %w", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1024))
	if err != nil {
		return fmt.Errorf("service unhealthy: %w", err)
	}
	status := response.Trailer.Get("grpc-status")
	if status == "" {
		status = response.Header.Get("grpc-status")
	}
	if status != "0" || !bytes.Equal(body, servingAnswer) {
		return fmt.Errorf("service unhealthy (grpc-status %q, answer %x)", status, body)
	}
	return nil
}

// healthRequest is HealthCheckRequest{service} in a frame of gRPC.
func healthRequest(service string) []byte {
	var message []byte
	if service != "" {
		message = append(message, 1<<3|2)
		message = binary.AppendUvarint(message, uint64(len(service)))
		message = append(message, service...)
	}
	frame := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message)))
	return append(frame, message...)
}
