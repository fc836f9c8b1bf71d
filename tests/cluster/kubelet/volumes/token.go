package volumes

import (
	"context"
	"fmt"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// tokens are the service account tokens of one pod, each bound to it.
type tokens struct {
	client   kubernetes.Interface
	lifetime float64 // which part of its life a token is used for
	mutex    sync.Mutex
	issued   map[string]issuedToken
}

type issuedToken struct {
	value string
	due   time.Time
}

// token returns the token of a source, and asks for a new one when the last is due.
func (tokens *tokens) token(
	ctx context.Context, pod *v1.Pod, key string, source *v1.ServiceAccountTokenProjection,
) (string, error) {
	tokens.mutex.Lock()
	defer tokens.mutex.Unlock()
	last, known := tokens.issued[key]
	if known && time.Now().Before(last.due) {
		return last.value, nil
	}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: source.ExpirationSeconds,
		BoundObjectRef:    &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID},
	}}
	if source.Audience != "" {
		request.Spec.Audiences = []string{source.Audience}
	}
	asked := time.Now()
	account := pod.Spec.ServiceAccountName
	answer, err := tokens.client.CoreV1().ServiceAccounts(pod.Namespace).
		CreateToken(ctx, account, request, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("token of service account %s: %w", account, err)
	}
	due := dueTime(asked, answer.Status.ExpirationTimestamp.Time, source.ExpirationSeconds, tokens.lifetime)
	tokens.issued[key] = issuedToken{value: answer.Status.Token, due: due}
	return answer.Status.Token, nil
}

// due says whether any token wants to be replaced.
func (tokens *tokens) due() bool {
	tokens.mutex.Lock()
	defer tokens.mutex.Unlock()
	for _, token := range tokens.issued {
		if !time.Now().Before(token.due) {
			return true
		}
	}
	return false
}

// dueTime is when a token is to be replaced: after a part of the life that was asked for, and at the latest after a day. An
// API server may extend the life of tokens far beyond what was asked, for clients that never read them again.
func dueTime(asked, expires time.Time, seconds *int64, part float64) time.Time {
	life := expires.Sub(asked)
	if seconds != nil {
		life = min(life, time.Duration(*seconds)*time.Second)
	}
	return asked.Add(min(time.Duration(part*float64(life)), 24*time.Hour))
}
