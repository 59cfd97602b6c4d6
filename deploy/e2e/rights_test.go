package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"berth/e2e/harness"
)

// What the account of the extender may do, as RBAC and the admission policies that we ship have it.

// asExtender is a client with the token of the extender's account.
func asExtender(t *testing.T) *kubernetes.Clientset {
	t.Helper()
	kubeconfig, err := plane.TokenKubeconfig("berth", "berth-scheduler-extender")
	must(t, err)
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	must(t, err)
	client, err := kubernetes.NewForConfig(config)
	must(t, err)
	return client
}

// refusedBy holds that a change is forbidden, with these words.
func refusedBy(t *testing.T, what string, err error, words string) {
	t.Helper()
	if !apierrors.IsForbidden(err) && !apierrors.IsInvalid(err) || !strings.Contains(fmt.Sprint(err), words) {
		t.Errorf("%s: %v, want it refused with `%s`", what, err, words)
	}
}

// victim is a pod that waits for good.
func victim(t *testing.T, namespace string) *corev1.Pod {
	t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: "victim", Labels: map[string]string{"app": "shop"}, Annotations: map[string]string{"theirs": "1"},
			Finalizers: []string{"example.com/hold"},
		},
		Spec: corev1.PodSpec{
			SchedulerName: "nobody",
			Containers:    []corev1.Container{{Name: "main", Image: "registry.example/shop:1"}},
		},
	}
	pods := plane.Client.CoreV1().Pods(namespace)
	made, err := pods.Create(context.Background(), pod, metav1.CreateOptions{})
	must(t, err)
	t.Cleanup(func() {
		free := []byte(`{"metadata":{"finalizers":null}}`)
		_, err := pods.Patch(context.Background(), "victim", types.MergePatchType, free, metav1.PatchOptions{})
		must(t, err)
		must(t, pods.Delete(context.Background(), "victim", *metav1.NewDeleteOptions(0)))
	})
	return made
}

// The right to patch pods is that to run anything as any of them. It is not granted by default; where it is, the policy beside it leaves one
// annotation of it.
func TestOperationsRightsOnPods(t *testing.T) {
	all := context.Background()
	namespace := plane.TestNamespace(t, "rights")
	pod := victim(t, namespace)
	pods := asExtender(t).CoreV1().Pods(namespace)
	// A kind of patch that finds a container by its name. The extender sends merge patches, which are the same for annotations.
	patch := func(change string) error {
		_, err := pods.Patch(all, pod.Name, types.StrategicMergePatchType, []byte(change), metav1.PatchOptions{})
		return err
	}
	const decision = `{"metadata":{"annotations":{"berth.io/decision":"node=a score=0.90"}}}`
	refusedBy(t, "an annotation by default", patch(decision), "cannot patch resource")
	if _, err := pods.Get(all, pod.Name, metav1.GetOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("a single pod can be read: %v", err)
	}

	plane.Apply(t, "rbac-annotate.yaml")
	// The API server takes in policies and roles beside its work.
	tries := 0
	harness.Eventually(t, "the policy is in force", patience, func() error {
		// Until then it comes through, and the same once more would change nothing.
		tries++
		try := fmt.Sprintf(`{"metadata":{"labels":{"try":"%d"}}}`, tries)
		if err := patch(try); !strings.Contains(fmt.Sprint(err), "may not change labels") {
			return fmt.Errorf("labels can be changed: %v", err)
		}
		return patch(decision)
	})
	for what, change := range map[string][2]string{
		"an image":             {`{"spec":{"containers":[{"name":"main","image":"evil"}]}}`, "may not change the spec"},
		"a deadline":           {`{"spec":{"activeDeadlineSeconds":1}}`, "may not change the spec"},
		"a label":              {`{"metadata":{"labels":{"app":"else"}}}`, "may not change labels"},
		"a label more":         {`{"metadata":{"labels":{"more":"1"}}}`, "may not change labels"},
		"no finalizers":        {`{"metadata":{"finalizers":null}}`, "may not change labels, finalizers"},
		"an owner":             {`{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Node","name":"n","uid":"u"}]}}`, "may not change labels, finalizers or owners"},
		"an annotation":        {`{"metadata":{"annotations":{"more":"1"}}}`, "no annotation but"},
		"another's annotation": {`{"metadata":{"annotations":{"theirs":"2"}}}`, "no annotation but"},
		"none of another's":    {`{"metadata":{"annotations":{"theirs":null}}}`, "no annotation but"},
		"a long annotation":    {`{"metadata":{"annotations":{"berth.io/decision":"` + strings.Repeat("x", 2049) + `"}}}`, "at most 2048"},
	} {
		refusedBy(t, what, patch(change[0]), change[1])
	}
	must(t, patch(`{"metadata":{"annotations":{"berth.io/decision":"another"}}}`))
	must(t, patch(`{"metadata":{"annotations":{"berth.io/decision":null}}}`))
	// Whoever else may patch pods is left alone.
	_, err := plane.Client.CoreV1().Pods(namespace).Patch(all, pod.Name, types.MergePatchType, []byte(`{"metadata":{"labels":{"more":"1"}}}`), metav1.PatchOptions{})
	must(t, err)
	now, err := plane.Client.CoreV1().Pods(namespace).Get(all, pod.Name, metav1.GetOptions{})
	must(t, err)
	if now.Spec.Containers[0].Image != "registry.example/shop:1" || now.Labels["app"] != "shop" || now.Annotations["theirs"] != "1" {
		t.Errorf("the pod is not as it was: %+v", now)
	}
}

// The same for nodes: one taint and one label.
func TestOperationsRightsOnNodes(t *testing.T) {
	all := context.Background()
	plane.CreateNodes(t, harness.Nodes("node", 1, 8, 32*gigabyte))
	nodes := asExtender(t).CoreV1().Nodes()
	patch := func(change string) error {
		_, err := nodes.Patch(all, "node-000", types.MergePatchType, []byte(change), metav1.PatchOptions{})
		return err
	}
	const theirs = `{"key":"theirs","value":"1","effect":"NoSchedule"}`
	const ours = `{"key":"berth.io/quarantine","value":"anomaly","effect":"NoSchedule"}`
	taints := func(list ...string) string { return `{"spec":{"taints":[` + strings.Join(list, ",") + `]}}` }
	_, err := plane.Client.CoreV1().Nodes().Patch(all, "node-000", types.MergePatchType, []byte(taints(theirs)), metav1.PatchOptions{})
	must(t, err)
	refusedBy(t, "a taint by default", patch(taints(theirs, ours)), "cannot patch resource")

	plane.Apply(t, "rbac-quarantine.yaml")
	tries := 0
	harness.Eventually(t, "the policy is in force", patience, func() error {
		tries++
		try := fmt.Sprintf(`{"metadata":{"labels":{"try":"%d"}}}`, tries)
		if err := patch(try); !strings.Contains(fmt.Sprint(err), "no label but") {
			return fmt.Errorf("labels can be changed: %v", err)
		}
		return nil
	})
	// As the extender does it.
	must(t, patch(`{"metadata":{"labels":{"berth.io/quarantine":"anomaly"}},"spec":{"taints":[`+theirs+`,`+ours+`]}}`))
	for what, change := range map[string][2]string{
		"no taint of theirs":  {taints(ours), "no taint but"},
		"a taint more":        {taints(theirs, ours, `{"key":"more","effect":"NoSchedule"}`), "no taint but"},
		"a taint that evicts": {taints(theirs, `{"key":"berth.io/quarantine","effect":"NoExecute"}`), "evicts none"},
		"cordoned":            {`{"spec":{"unschedulable":true}}`, "nothing of the spec"},
		"a label":             {`{"metadata":{"labels":{"node-role.kubernetes.io/control-plane":""}}}`, "no label but"},
		"an annotation":       {`{"metadata":{"annotations":{"more":"1"}}}`, "may not change annotations"},
		"a finalizer":         {`{"metadata":{"finalizers":["example.com/hold"]}}`, "may not change annotations, finalizers"},
	} {
		refusedBy(t, what, patch(change[0]), change[1])
	}
	must(t, patch(`{"metadata":{"labels":{"berth.io/quarantine":null}},"spec":{"taints":[`+theirs+`]}}`))
	_, err = nodes.Patch(all, "node-000", types.MergePatchType, []byte(`{"status":{"phase":"x"}}`), metav1.PatchOptions{}, "status")
	refusedBy(t, "the status", err, "cannot patch resource")
}

// What is shipped is valid, and its pods are as hardened as the namespace demands.
func TestOperationsManifestsAreValid(t *testing.T) {
	plane.DryRun(t, "deployment.yaml")
	objects, err := plane.Manifest("deployment.yaml")
	must(t, err)
	found := false
	for _, object := range objects {
		if object.GetKind() != "Deployment" {
			continue
		}
		found = true
		template, _, err := unstructured.NestedMap(object.Object, "spec", "template")
		must(t, err)
		var pod corev1.Pod
		must(t, runtime.DefaultUnstructuredConverter.FromUnstructured(template, &pod))
		pod.Name = "hardened"
		dry := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
		_, err = plane.Client.CoreV1().Pods("berth").Create(context.Background(), &pod, dry)
		must(t, err)
		// The same pod with a little less: the namespace holds to it.
		pod.Spec.Containers[0].SecurityContext.Capabilities = nil
		_, err = plane.Client.CoreV1().Pods("berth").Create(context.Background(), &pod, dry)
		refusedBy(t, "a pod with capabilities", err, "restricted")
	}
	if !found {
		t.Error("there is no Deployment")
	}
}
