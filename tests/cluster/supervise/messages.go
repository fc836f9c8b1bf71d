package supervise

import (
	"encoding/json"

	"portcullis/tests/cluster/kubelet/images"
)

// Settings is the first line that the supervisor reads.
type Settings struct {
	// Binaries has the components of the control plane, Harness our own programs.
	Binaries string `json:"binaries"`
	Harness  string `json:"harness"`
	// Logs is a folder of the machine, "" for one that ends with the cluster.
	Logs   string                  `json:"logs"`
	Images map[string]images.Image `json:"images"`
	// HostAPI is the URL at which the machine reaches the API server.
	HostAPI string `json:"host_api"`
}

func (s Settings) logs() string {
	if s.Logs != "" {
		return s.Logs
	}
	return path("logs")
}

// Ready is the first line that the supervisor writes.
type Ready struct {
	// Error says why there is no cluster.
	Error            string         `json:"error,omitempty"`
	Kubeconfig       string         `json:"kubeconfig"`
	InsideKubeconfig string         `json:"inside_kubeconfig"`
	PIDs             map[string]int `json:"pids"`
	// Steps is how long each step of the start took, in milliseconds.
	Steps []Step `json:"steps"`
}

// Step is a part of the start.
type Step struct {
	Name string `json:"name"`
	MS   int64  `json:"ms"`
}

// Request is a line that asks for something, see commands.
type Request struct {
	Do   string `json:"do"`
	Name string `json:"name,omitempty"`
	// Images are added to the table of images.
	Images map[string]images.Image `json:"images,omitempty"`
}

// Reply answers one Request.
type Reply struct {
	OK       bool           `json:"ok"`
	Error    string         `json:"error,omitempty"`
	MS       int64          `json:"ms"`
	Revision int64          `json:"revision,omitempty"`
	PIDs     map[string]int `json:"pids,omitempty"`
}

// Line writes a message as one line.
func Line(message any) []byte {
	text, err := json.Marshal(message)
	if err != nil {
		panic("messages are plain data: " + err.Error())
	}
	return append(text, '\n')
}
