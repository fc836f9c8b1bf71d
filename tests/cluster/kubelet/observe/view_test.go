package observe

import (
	"slices"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func TestChangesAreToldOnceAndReplacementsAreRemovals(t *testing.T) {
	var told []string
	view := &View[*v1.Pod]{objects: map[types.NamespacedName]*v1.Pod{}, synced: make(chan struct{})}
	view.handler = Handler[*v1.Pod]{
		Changed: func(pod *v1.Pod) { told = append(told, "+"+pod.Name+string(pod.UID)+pod.ResourceVersion) },
		Removed: func(pod *v1.Pod) { told = append(told, "-"+pod.Name+string(pod.UID)+pod.ResourceVersion) },
	}
	pod := func(name, uid, version string) *v1.Pod {
		return &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(uid), ResourceVersion: version}}
	}
	expect := func(want ...string) {
		t.Helper()
		if !slices.Equal(told, want) {
			t.Errorf("told %q, not %q", told, want)
		}
		told = nil
	}
	store := store[*v1.Pod]{view}
	// What a reflector does with its store: a list, changes, and a list again when the watch was broken.
	calls := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	calls(store.Replace([]any{pod("a", "x", "1"), pod("b", "y", "1")}, ""))
	expect("+ax1", "+by1")
	calls(store.Update(pod("a", "x", "2")))
	calls(store.Add(pod("a", "x", "2")))
	expect("+ax2")
	calls(store.Update(pod("a", "z", "3")))
	expect("-ax2", "+az3")
	calls(store.Replace([]any{pod("a", "z", "3"), pod("c", "w", "1")}, ""))
	expect("-by1", "+cw1")
	calls(store.Delete(pod("c", "w", "2")))
	expect("-cw1")
	if err := store.Add(&v1.Node{}); err == nil {
		t.Error("a node was taken for a pod")
	}
	if _, found := view.Find("", "a"); !found || len(view.All()) != 1 || !view.WaitForSync(t.Context()) {
		t.Errorf("the view has %v", view.All())
	}
}
