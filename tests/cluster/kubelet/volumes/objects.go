package volumes

import (
	"context"
	"fmt"
	"sync"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"portcullis/tests/cluster/kubelet/observe"
)

// Objects watches the ConfigMaps and Secrets that pods of this node mount, each on its own: a node may not list others.
type Objects struct {
	configMaps *objects[*v1.ConfigMap]
	secrets    *objects[*v1.Secret]
}

// NewObjects watches nothing yet.
func NewObjects(client kubernetes.Interface) *Objects {
	return &Objects{
		configMaps: newObjects(client, "configmaps", &v1.ConfigMap{}),
		secrets:    newObjects(client, "secrets", &v1.Secret{}),
	}
}

// Subscribe returns a subscription to nothing yet; changed is called for each change of an object that is read by it,
// and must not wait.
func (objects *Objects) Subscribe(changed func()) *Subscription {
	return &Subscription{objects: objects, changed: changed}
}

// Subscription keeps objects watched for one pod.
type Subscription struct {
	objects *Objects
	changed func()
}

// ConfigMap returns a ConfigMap as it is now, and watches it from then on.
func (subscription *Subscription) ConfigMap(ctx context.Context, namespace, name string) (*v1.ConfigMap, error) {
	return subscription.objects.configMaps.read(ctx, subscription, namespace, name)
}

// Secret returns a Secret as it is now, and watches it from then on.
func (subscription *Subscription) Secret(ctx context.Context, namespace, name string) (*v1.Secret, error) {
	return subscription.objects.secrets.read(ctx, subscription, namespace, name)
}

// Close ends the watches that nobody else needs.
func (subscription *Subscription) Close() {
	subscription.objects.configMaps.leave(subscription)
	subscription.objects.secrets.leave(subscription)
}

// objects are the watches of one kind.
type objects[T observe.Object] struct {
	client   kubernetes.Interface
	resource string
	example  T
	mutex    sync.Mutex
	watches  map[objectKey]*objectWatch[T]
}

type objectKey struct{ namespace, name string }

type objectWatch[T observe.Object] struct {
	view  *observe.View[T]
	end   context.CancelFunc
	users map[*Subscription]bool
}

func newObjects[T observe.Object](client kubernetes.Interface, resource string, example T) *objects[T] {
	return &objects[T]{client: client, resource: resource, example: example, watches: map[objectKey]*objectWatch[T]{}}
}

func (objects *objects[T]) read(ctx context.Context, user *Subscription, namespace, name string) (T, error) {
	view := objects.join(user, objectKey{namespace, name})
	if !view.WaitForSync(ctx) {
		var none T
		return none, fmt.Errorf("%s %q: timed out waiting for the API server", objects.resource, name)
	}
	object, found := view.Find(namespace, name)
	if !found {
		return object, apierrors.NewNotFound(schema.GroupResource{Resource: objects.resource}, name)
	}
	return object, nil
}

func (objects *objects[T]) join(user *Subscription, key objectKey) *observe.View[T] {
	objects.mutex.Lock()
	defer objects.mutex.Unlock()
	watch := objects.watches[key]
	if watch == nil {
		ctx, end := context.WithCancel(context.Background())
		watch = &objectWatch[T]{end: end, users: map[*Subscription]bool{}}
		objects.watches[key] = watch
		notify := func(T) { objects.notify(watch) }
		selector := fields.OneTermEqualSelector("metadata.name", key.name)
		source := cache.NewListWatchFromClient(objects.client.CoreV1().RESTClient(), objects.resource, key.namespace, selector)
		watch.view = observe.Watch(ctx, source, objects.example, observe.Handler[T]{Changed: notify, Removed: notify})
	}
	watch.users[user] = true
	return watch.view
}

func (objects *objects[T]) leave(user *Subscription) {
	objects.mutex.Lock()
	defer objects.mutex.Unlock()
	for key, watch := range objects.watches {
		delete(watch.users, user)
		if len(watch.users) == 0 {
			watch.end()
			delete(objects.watches, key)
		}
	}
}

func (objects *objects[T]) notify(watch *objectWatch[T]) {
	objects.mutex.Lock()
	defer objects.mutex.Unlock()
	for user := range watch.users {
		user.changed()
	}
}
