// Package observe keeps in memory what the API server has of a kind, and tells of changes.
//
// Informers of client-go do the same, but after an API server was away they wait for up to a minute before they ask again,
// and a test that looks at what happens then would wait for the kubelet.
package observe

import (
	"context"
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/cache"
)

// pause is between attempts to reach the API server.
const pause = 500 * time.Millisecond

// Object is an object of the API.
type Object interface {
	metav1.Object
	runtime.Object
}

// Handler is told of changes, one after the other. It must not wait.
type Handler[T Object] struct {
	// Changed is called with an object that is new or has changed.
	Changed func(T)
	// Removed is called with the last state of an object that is gone. One that was replaced by another of the same name is
	// gone.
	Removed func(T)
}

// View are the objects of a source.
type View[T Object] struct {
	handler Handler[T]
	mutex   sync.RWMutex
	objects map[types.NamespacedName]T
	synced  chan struct{} // closed once all that the server had is here
	once    sync.Once
}

// Watch observes a source until the context ends. The example says of which type its objects are.
func Watch[T Object](ctx context.Context, source cache.ListerWatcher, example T, handler Handler[T]) *View[T] {
	view := &View[T]{handler: handler, objects: map[types.NamespacedName]T{}, synced: make(chan struct{})}
	reflector := cache.NewReflectorWithOptions(source, example, store[T]{view}, cache.ReflectorOptions{
		Name: fmt.Sprintf("%T", example), Backoff: &wait.Backoff{Duration: pause, Jitter: 0.2},
	})
	go reflector.RunWithContext(ctx)
	return view
}

// WaitForSync waits until the view has what the server had, and returns whether it has before the context ended.
func (view *View[T]) WaitForSync(ctx context.Context) bool {
	select {
	case <-view.synced:
		return true
	case <-ctx.Done():
		return false
	}
}

// Find returns an object by its name.
func (view *View[T]) Find(namespace, name string) (object T, found bool) {
	view.mutex.RLock()
	defer view.mutex.RUnlock()
	object, found = view.objects[types.NamespacedName{Namespace: namespace, Name: name}]
	return object, found
}

// All returns all objects, in no order.
func (view *View[T]) All() []T {
	view.mutex.RLock()
	defer view.mutex.RUnlock()
	all := make([]T, 0, len(view.objects))
	for _, object := range view.objects {
		all = append(all, object)
	}
	return all
}

// put has the view show an object, or none of this name, and tells the handler.
func (view *View[T]) put(object T, present bool) {
	key := types.NamespacedName{Namespace: object.GetNamespace(), Name: object.GetName()}
	view.mutex.Lock()
	before, known := view.objects[key]
	if present {
		view.objects[key] = object
	} else {
		delete(view.objects, key)
	}
	view.mutex.Unlock()
	if known && (!present || before.GetUID() != object.GetUID()) && view.handler.Removed != nil {
		view.handler.Removed(before)
	}
	isNew := !known || before.GetResourceVersion() != object.GetResourceVersion()
	if present && isNew && view.handler.Changed != nil {
		view.handler.Changed(object)
	}
}

// replace has the view show these objects and no others.
func (view *View[T]) replace(objects []T) {
	kept := map[types.NamespacedName]bool{}
	for _, object := range objects {
		kept[types.NamespacedName{Namespace: object.GetNamespace(), Name: object.GetName()}] = true
	}
	for _, object := range view.All() {
		if !kept[types.NamespacedName{Namespace: object.GetNamespace(), Name: object.GetName()}] {
			view.put(object, false)
		}
	}
	for _, object := range objects {
		view.put(object, true)
	}
	view.once.Do(func() { close(view.synced) })
}

// store is a view as a reflector knows it.
type store[T Object] struct{ view *View[T] }

func (store store[T]) Add(object any) error { return store.put(object, true) }

func (store store[T]) Update(object any) error { return store.put(object, true) }

func (store store[T]) Delete(object any) error { return store.put(object, false) }

func (store store[T]) Resync() error { return nil }

func (store store[T]) Replace(list []any, _ string) error {
	objects := make([]T, len(list))
	for i, item := range list {
		object, right := item.(T)
		if !right {
			return fmt.Errorf("%T is not an object of the watched type", item)
		}
		objects[i] = object
	}
	store.view.replace(objects)
	return nil
}

func (store store[T]) put(item any, present bool) error {
	object, right := item.(T)
	if !right {
		return fmt.Errorf("%T is not an object of the watched type", item)
	}
	store.view.put(object, present)
	return nil
}
