package harness

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/tools/cache"
)

// Bindings watch the pods of a namespace: when each was made and when and where it was bound.
type Bindings struct {
	mutex  sync.Mutex
	pods   map[string]*Bound
	cancel context.CancelFunc
}

// Bound is one pod's way. Times are this process's clock when the watch told.
type Bound struct {
	Pod     *corev1.Pod
	Created time.Time
	At      time.Time
	Node    string
}

// WatchPods begins to watch; a watch that is cut goes on by itself.
func (c *ControlPlane) WatchPods(t testing.TB, namespace string) *Bindings {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	bindings := &Bindings{pods: map[string]*Bound{}, cancel: cancel}
	source := cache.NewListWatchFromClient(c.Client.CoreV1().RESTClient(), "pods", namespace, fields.Everything())
	informer := cache.NewSharedInformer(source, &corev1.Pod{}, 0)
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { bindings.saw(object) },
		UpdateFunc: func(_, object any) { bindings.saw(object) },
	}
	if _, err := informer.AddEventHandler(handler); err != nil {
		t.Fatal(err)
	}
	go informer.Run(ctx.Done())
	t.Cleanup(cancel)
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		t.Fatal("the watch of pods never began")
	}
	return bindings
}

func (b *Bindings) saw(object any) {
	pod, is := object.(*corev1.Pod)
	if !is {
		return
	}
	b.mutex.Lock()
	defer b.mutex.Unlock()
	bound := b.pods[pod.Name]
	if bound == nil {
		bound = &Bound{Created: time.Now()}
		b.pods[pod.Name] = bound
	}
	bound.Pod = pod
	if bound.Node == "" && pod.Spec.NodeName != "" {
		bound.Node, bound.At = pod.Spec.NodeName, time.Now()
	}
}

// All are the pods seen so far.
func (b *Bindings) All() []Bound {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	all := make([]Bound, 0, len(b.pods))
	for _, bound := range b.pods {
		all = append(all, *bound)
	}
	return all
}

// Wait waits until `count` pods are bound, and fails the test after `limit` with the reasons of those that are not.
func (b *Bindings) Wait(t testing.TB, count int, limit time.Duration) Placement {
	t.Helper()
	var placement Placement
	Eventually(t, fmt.Sprintf("%d pods are bound", count), limit, func() error {
		placement = placementOf(b.All())
		if len(placement.Waits) < count {
			return fmt.Errorf("%d are: %s", len(placement.Waits), b.reason())
		}
		return nil
	})
	return placement
}

// Decided waits until kube-scheduler has bound a pod or said that it fits nowhere.
func (b *Bindings) Decided(t testing.TB, name string, limit time.Duration) *corev1.Pod {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		if pod := b.pod(name); pod != nil && (pod.Spec.NodeName != "" || isUnschedulable(pod)) {
			return pod
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited %v in vain until pod `%s` is decided", limit, name)
		}
		// Hundreds of pods wait for each other: a decision takes some milliseconds.
		time.Sleep(2 * time.Millisecond)
	}
}

func (b *Bindings) pod(name string) *corev1.Pod {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if bound := b.pods[name]; bound != nil {
		return bound.Pod
	}
	return nil
}

func isUnschedulable(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(is corev1.PodCondition) bool {
		return is.Type == corev1.PodScheduled && is.Reason == corev1.PodReasonUnschedulable
	})
}

func (b *Bindings) reason() string {
	for _, bound := range b.All() {
		for _, condition := range bound.Pod.Status.Conditions {
			if bound.Node == "" && condition.Type == corev1.PodScheduled {
				return fmt.Sprintf("pod `%s` is not: %s", bound.Pod.Name, condition.Message)
			}
		}
	}
	return "no pod has a reason yet"
}

// Placement tells where pods went and how long it took.
type Placement struct {
	// ByNode is how many each node got.
	ByNode map[string]int
	// Waits from creation to binding, the shortest first.
	Waits []time.Duration
	// Span from the first creation to the last binding.
	Span time.Duration
}

func placementOf(all []Bound) Placement {
	placement := Placement{ByNode: map[string]int{}}
	var first, last time.Time
	for _, bound := range all {
		if bound.Node == "" {
			continue
		}
		placement.ByNode[bound.Node]++
		placement.Waits = append(placement.Waits, bound.At.Sub(bound.Created))
		if first.IsZero() || bound.Created.Before(first) {
			first = bound.Created
		}
		if bound.At.After(last) {
			last = bound.At
		}
	}
	slices.Sort(placement.Waits)
	placement.Span = last.Sub(first)
	return placement
}

// Most is the largest number of pods on one node.
func (p Placement) Most() int {
	most := 0
	for _, count := range p.ByNode {
		most = max(most, count)
	}
	return most
}

// PerSecond is the number of pods bound in a second.
func (p Placement) PerSecond() float64 { return float64(len(p.Waits)) / p.Span.Seconds() }

// Quantile of the waits.
func (p Placement) Quantile(q float64) time.Duration {
	if len(p.Waits) == 0 {
		return 0
	}
	return p.Waits[min(len(p.Waits)-1, int(q*float64(len(p.Waits))))]
}

func (p Placement) String() string {
	return fmt.Sprintf("%d pods on %d nodes, at most %d on one, in %.2f s (%.0f a second), wait P50 %.0f ms, P99 %.0f ms",
		len(p.Waits), len(p.ByNode), p.Most(), p.Span.Seconds(), p.PerSecond(),
		p.Quantile(0.5).Seconds()*1000, p.Quantile(0.99).Seconds()*1000)
}
