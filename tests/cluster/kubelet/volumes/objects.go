package volumes

import (
	"context"
	"fmt"
	"sync"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// Objects watches the ConfigMaps and Secrets that pods of this node mount, each on its own: a node may not list others.
type Objects struct {
	client  kubernetes.Interface
	mutex   sync.Mutex
	watches map[objectKey]*objectWatch
}

type objectKey struct{ resource, namespace, name string }

type objectWatch struct {
	informer cache.SharedIndexInformer
	stop     chan struct{}
	users    map[*Subscription]bool
}

// Subscription keeps objects watched for one pod.
type Subscription struct {
	objects *Objects
	changed func()
	keys    map[objectKey]bool
}

// NewObjects watches nothing yet.
func NewObjects(client kubernetes.Interface) *Objects {
	return &Objects{client: client, watches: map[objectKey]*objectWatch{}}
}

// Subscribe returns a subscription to nothing yet; changed is called for each change of an object that is read by it,
// and must not wait.
func (objects *Objects) Subscribe(changed func()) *Subscription {
	return &Subscription{objects: objects, changed: changed, keys: map[objectKey]bool{}}
}

// ConfigMap returns a ConfigMap as it is now, and watches it from then on.
func (subscription *Subscription) ConfigMap(ctx context.Context, namespace, name string) (*v1.ConfigMap, error) {
	return read[*v1.ConfigMap](ctx, subscription, objectKey{"configmaps", namespace, name}, &v1.ConfigMap{})
}

// Secret returns a Secret as it is now, and watches it from then on.
func (subscription *Subscription) Secret(ctx context.Context, namespace, name string) (*v1.Secret, error) {
	return read[*v1.Secret](ctx, subscription, objectKey{"secrets", namespace, name}, &v1.Secret{})
}

// Close ends the watches that nobody else needs.
func (subscription *Subscription) Close() {
	objects := subscription.objects
	objects.mutex.Lock()
	defer objects.mutex.Unlock()
	for key := range subscription.keys {
		watch := objects.watches[key]
		delete(watch.users, subscription)
		if len(watch.users) == 0 {
			close(watch.stop)
			delete(objects.watches, key)
		}
	}
	subscription.keys = map[objectKey]bool{}
}

func read[T runtime.Object](
	ctx context.Context, subscription *Subscription, key objectKey, example runtime.Object,
) (T, error) {
	var none T
	informer := subscription.objects.watch(subscription, key, example)
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		return none, fmt.Errorf("%s %s/%s: timed out waiting for the cache", key.resource, key.namespace, key.name)
	}
	object, found, err := informer.GetStore().GetByKey(key.namespace + "/" + key.name)
	if err != nil {
		return none, err
	}
	if !found {
		return none, apierrors.NewNotFound(schema.GroupResource{Resource: key.resource}, key.name)
	}
	return object.(T), nil
}

func (objects *Objects) watch(
	subscription *Subscription, key objectKey, example runtime.Object,
) cache.SharedIndexInformer {
	objects.mutex.Lock()
	defer objects.mutex.Unlock()
	watch := objects.watches[key]
	if watch == nil {
		selector := fields.OneTermEqualSelector("metadata.name", key.name)
		source := cache.NewListWatchFromClient(objects.client.CoreV1().RESTClient(), key.resource, key.namespace, selector)
		watch = &objectWatch{
			informer: cache.NewSharedIndexInformer(source, example, 0, nil),
			stop:     make(chan struct{}),
			users:    map[*Subscription]bool{},
		}
		objects.watches[key] = watch
		notify := func(any) { objects.notify(watch) }
		// A handler is refused only where the informer has stopped.
		_, _ = watch.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: notify, UpdateFunc: func(_, object any) { notify(object) }, DeleteFunc: notify,
		})
		go watch.informer.Run(watch.stop)
	}
	watch.users[subscription] = true
	subscription.keys[key] = true
	return watch.informer
}

func (objects *Objects) notify(watch *objectWatch) {
	objects.mutex.Lock()
	defer objects.mutex.Unlock()
	for user := range watch.users {
		user.changed()
	}
}
