package harness

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Node is a fake node; kwok makes it ready and runs its pods.
type Node struct {
	Name    string
	Address string
	Cores   int64
	Memory  int64
	Labels  map[string]string
	Taints  []corev1.Taint
}

// Nodes are `count` alike, named `<prefix>-000` and on, with addresses of their own.
func Nodes(prefix string, count int, cores, memory int64) []Node {
	nodes := make([]Node, count)
	for at := range nodes {
		nodes[at] = Node{
			Name: fmt.Sprintf("%s-%03d", prefix, at), Address: fmt.Sprintf("10.%d.%d.%d", 1+at/62500, at/250%250, 1+at%250),
			Cores: cores, Memory: memory,
		}
	}
	return nodes
}

func (n Node) object() *corev1.Node {
	room := corev1.ResourceList{
		corev1.ResourceCPU:    *resource.NewQuantity(n.Cores, resource.DecimalSI),
		corev1.ResourceMemory: *resource.NewQuantity(n.Memory, resource.BinarySI),
		corev1.ResourcePods:   *resource.NewQuantity(500, resource.DecimalSI),
	}
	labels := map[string]string{corev1.LabelHostname: n.Name, corev1.LabelOSStable: "linux", corev1.LabelArchStable: "amd64"}
	for key, value := range n.Labels {
		labels[key] = value
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: n.Name, Labels: labels},
		Spec:       corev1.NodeSpec{Taints: n.Taints},
		Status: corev1.NodeStatus{
			Capacity: room, Allocatable: room,
			Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: n.Address}, {Type: corev1.NodeHostName, Address: n.Name}},
		},
	}
}

// CreateNodes makes the nodes and waits until kwok has them ready. They go when the test ends.
func (c *ControlPlane) CreateNodes(t testing.TB, nodes []Node) {
	t.Helper()
	api, all := c.Client.CoreV1().Nodes(), context.Background()
	t.Cleanup(func() {
		if err := api.DeleteCollection(all, metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
			t.Errorf("nodes are left: %v", err)
		}
	})
	each(t, len(nodes), func(at int) error {
		_, err := api.Create(all, nodes[at].object(), metav1.CreateOptions{})
		return err
	})
	Eventually(t, "all nodes are ready", 2*time.Minute+time.Duration(len(nodes))*50*time.Millisecond, func() error {
		list, err := api.List(all, metav1.ListOptions{ResourceVersion: "0"})
		if err != nil {
			return err
		}
		ready := 0
		for _, node := range list.Items {
			for _, condition := range node.Status.Conditions {
				if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue {
					ready++
				}
			}
		}
		if ready < len(nodes) {
			return fmt.Errorf("%d of %d are ready", ready, len(nodes))
		}
		return nil
	})
}

// Pods are alike and belong to one workload.
type Pods struct {
	Namespace string
	// Workload is the name of the Deployment, through a ReplicaSet as the controller would name it; without it pods are bare.
	Workload string
	Count    int
	// First is the number that the first one's name ends with.
	First  int
	CPU    string
	Memory string
	Labels map[string]string
	// Annotations of each pod.
	Annotations map[string]string
	// Edit changes the specification further.
	Edit func(*corev1.PodSpec)
}

// The hash that a Deployment's controller would put into names.
const templateHash = "7d9c5b8f4d"

func (p Pods) object(at int) *corev1.Pod {
	name := p.Workload
	if name == "" {
		name = "bare"
	}
	no := false
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: fmt.Sprintf("%s-%s-%05d", name, templateHash, at), Namespace: p.Namespace,
			Labels: map[string]string{"app": name}, Annotations: p.Annotations,
		},
		Spec: corev1.PodSpec{
			AutomountServiceAccountToken: &no,
			Containers: []corev1.Container{{
				Name: "main", Image: "registry.invalid/" + name,
				Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
					corev1.ResourceCPU: resource.MustParse(p.CPU), corev1.ResourceMemory: resource.MustParse(p.Memory),
				}},
			}},
		},
	}
	for key, value := range p.Labels {
		pod.Labels[key] = value
	}
	if p.Workload != "" {
		pod.Labels["pod-template-hash"] = templateHash
		controller := true
		pod.OwnerReferences = []metav1.OwnerReference{{
			APIVersion: "apps/v1", Kind: "ReplicaSet", Name: p.Workload + "-" + templateHash,
			UID: types.UID(p.Namespace + "/" + p.Workload), Controller: &controller,
		}}
	}
	if p.Edit != nil {
		p.Edit(&pod.Spec)
	}
	return pod
}

// CreatePods makes them, the first first, as a controller does with many at once.
func (c *ControlPlane) CreatePods(t testing.TB, pods Pods) {
	t.Helper()
	each(t, pods.Count, func(at int) error {
		_, err := c.Client.CoreV1().Pods(pods.Namespace).Create(context.Background(), pods.object(pods.First+at), metav1.CreateOptions{})
		return err
	})
}

// CreateReplicaSet makes the owner of a workload's pods. Nothing acts on it; kube-scheduler spreads pods by its selector.
func (c *ControlPlane) CreateReplicaSet(t testing.TB, pods Pods) {
	t.Helper()
	pod := pods.object(0)
	labels := map[string]string{"app": pod.Labels["app"], "pod-template-hash": templateHash}
	_, err := c.Client.AppsV1().ReplicaSets(pods.Namespace).Create(context.Background(), &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{Name: pod.OwnerReferences[0].Name, Namespace: pods.Namespace, Labels: labels},
		Spec: appsv1.ReplicaSetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: pod.Spec},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// CreatePod makes the one pod of number `at` and returns its name.
func (c *ControlPlane) CreatePod(t testing.TB, pods Pods, at int) string {
	t.Helper()
	pod := pods.object(at)
	if _, err := c.Client.CoreV1().Pods(pods.Namespace).Create(context.Background(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return pod.Name
}

// TestNamespace makes a namespace for the test; its pods go when the test ends.
func (c *ControlPlane) TestNamespace(t testing.TB, name string) string {
	t.Helper()
	if err := c.Namespace(name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.RemovePods(t, name) })
	return name
}

// RemovePods deletes all pods of a namespace at once.
func (c *ControlPlane) RemovePods(t testing.TB, namespace string) {
	now := int64(0)
	err := c.Client.CoreV1().Pods(namespace).DeleteCollection(context.Background(),
		metav1.DeleteOptions{GracePeriodSeconds: &now}, metav1.ListOptions{})
	if err != nil {
		t.Errorf("pods of `%s` are left: %v", namespace, err)
	}
}

// each runs `work` for 0..count, sixteen at a time.
func each(t testing.TB, count int, work func(at int) error) {
	t.Helper()
	var group sync.WaitGroup
	errors, places := make(chan error, count), make(chan int)
	for range 16 {
		group.Go(func() {
			for at := range places {
				if err := work(at); err != nil {
					errors <- err
				}
			}
		})
	}
	for at := range count {
		places <- at
	}
	close(places)
	group.Wait()
	select {
	case err := <-errors:
		t.Fatal(err)
	default:
	}
}

// Eventually waits until `check` holds, and fails the test with its last error after `limit`.
func Eventually(t testing.TB, what string, limit time.Duration, check func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited %v in vain until %s: %v", limit, what, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}
