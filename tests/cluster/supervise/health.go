package supervise

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"k8s.io/client-go/kubernetes"

	"portcullis/tests/cluster/kubeapi"
	"portcullis/tests/cluster/plan"
)

// quick bounds one question to a component; it is asked again anyhow.
const quick = 2 * time.Second

var etcdClient = &http.Client{Timeout: quick}

func etcdHealthy() error {
	response, err := etcdClient.Get(plan.EtcdURL + "/health")
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("/health: %s", response.Status)
	}
	return nil
}

// administrator is the client of the supervisor itself.
var administrator = sync.OnceValues(func() (*kubernetes.Clientset, error) {
	return kubeapi.Client(path(adminKubeconfig))
})

func apiserverHealthy() error {
	client, err := administrator()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), quick)
	defer cancel()
	return client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
}

// compact makes etcd forget everything before its present revision, and returns that revision. It speaks etcd's JSON
// gateway, which needs none of etcd's client library.
func compact() (int64, error) {
	var status struct {
		Header struct{ Revision string }
	}
	// "AA==" is a key of one zero byte: the answer's header is what is asked for.
	if err := etcdCall("/v3/kv/range", map[string]any{"key": "AA=="}, &status); err != nil {
		return 0, err
	}
	revision, err := strconv.ParseInt(status.Header.Revision, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("etcd: revision %q: %w", status.Header.Revision, err)
	}
	request := map[string]any{"revision": status.Header.Revision, "physical": true}
	return revision, etcdCall("/v3/kv/compaction", request, &struct{}{})
}

func etcdCall(path string, request, answer any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	response, err := etcdClient.Post(plan.EtcdURL+path, "application/json", bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("etcd: %s: %w", path, err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("etcd: %s: %s: %s", path, response.Status, text)
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("etcd: %s: %w", path, err)
	}
	return nil
}
