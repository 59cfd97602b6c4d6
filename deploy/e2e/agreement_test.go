package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"berth/e2e/harness"
)

// How many pods of each workload are decided.
const podsEach = 24

// The least share of decisions in which the simulator agrees.
const leastAgreement = 0.95

// Group 7: the simulator's kube-scheduler decides as the real one. Pods of many kinds come one after the other, so that what each
// decision knew is known; then the simulator is asked, pod by pod, whether the node that was chosen is among its best.
func TestAgreementOfTheSimulator(t *testing.T) {
	program, err := plane.Program("examples/agreement")
	must(t, err)
	plane.CreateNodes(t, mixedNodes())
	namespace := plane.TestNamespace(t, "agreement")
	workloads := mixedWorkloads(namespace)
	for _, workload := range workloads {
		plane.CreateReplicaSet(t, workload)
	}
	plane.StartScheduler(t, harness.SchedulerOptions{Quiet: true})
	bindings := plane.WatchPods(t, namespace)
	api := plane.Client.CoreV1().Pods(namespace)
	var decided []*corev1.Pod
	for at := range podsEach {
		for _, workload := range workloads {
			name := plane.CreatePod(t, workload, at)
			pod := bindings.Decided(t, name, patience)
			decided = append(decided, pod)
			if pod.Spec.NodeName == "" {
				// It would be tried again whenever something changes.
				now := int64(0)
				must(t, api.Delete(context.Background(), name, metav1.DeleteOptions{GracePeriodSeconds: &now}))
			}
		}
	}
	told := replay(t, program, decided)
	report(t, told, decided)
	if told.Infeasible > 0 {
		t.Errorf("%d pods are where the simulator would not let them, or would have found a node where none was", told.Infeasible)
	}
	if share := float64(told.Agree) / float64(told.Pods); told.Pods != len(decided) || share < leastAgreement {
		t.Errorf("the simulator agrees on %.1f %% of %d pods, want %.0f %% of %d", 100*share, told.Pods, 100*leastAgreement, len(decided))
	}
	if told.Chance > 0.5 {
		t.Errorf("by lot %.0f %% would agree, so this proves little", 100*told.Chance)
	}
}

// agreement is what the simulator says of a record.
type agreement struct {
	Pods, Agree, Infeasible int
	Chance                  float64
	Unread                  map[string]int
	Disagreements           []struct {
		Pod, Node string
		Best      []string
		Score     *float64
		BestScore *float64 `json:"best_score"`
	}
}

// replay writes what was decided and asks the simulator.
func replay(t *testing.T, program string, decided []*corev1.Pod) agreement {
	t.Helper()
	nodes, err := plane.Client.CoreV1().Nodes().List(context.Background(), metav1.ListOptions{})
	must(t, err)
	record, err := json.Marshal(map[string]any{"nodes": nodes.Items, "pods": decided})
	must(t, err)
	// It stays with the logs when the test fails.
	path := filepath.Join(plane.Folder, "agreement.json")
	must(t, os.WriteFile(path, record, 0o644))
	command := exec.Command(program, path)
	var stderr strings.Builder
	command.Stderr = &stderr
	output, err := command.Output()
	if err != nil {
		t.Fatalf("the simulator cannot replay %s: %v: %s", path, err, stderr.String())
	}
	var told agreement
	must(t, json.Unmarshal(output, &told))
	return told
}

// report logs the share by workload.
func report(t *testing.T, told agreement, decided []*corev1.Pod) {
	t.Helper()
	pods, unbound, differ := map[string]int{}, map[string]int{}, map[string]int{}
	workload := map[string]string{}
	for _, pod := range decided {
		app := pod.Labels["app"]
		workload[pod.Name] = app
		pods[app]++
		if pod.Spec.NodeName == "" {
			unbound[app]++
		}
	}
	for _, one := range told.Disagreements {
		app := workload[one.Pod]
		if differ[app]++; differ[app] <= 2 {
			t.Logf("%s is on %s with %s; the simulator's best are %v with %s", one.Pod, one.Node, points(one.Score), one.Best, points(one.BestScore))
		}
	}
	for _, app := range slices.Sorted(maps.Keys(pods)) {
		t.Logf("%-14s %3d of %d agree, %d found no node", app, pods[app]-differ[app], pods[app], unbound[app])
	}
	t.Logf("%d of %d agree (%.1f %%), %.1f %% would by lot; infeasible: %d; unread: %v",
		told.Agree, told.Pods, 100*float64(told.Agree)/float64(told.Pods), 100*told.Chance, told.Infeasible, told.Unread)
}

func points(score *float64) string {
	if score == nil {
		return "no score"
	}
	return fmt.Sprintf("%.0f", *score)
}

// mixedNodes are 60 nodes of three sizes in three zones, some with labels and taints. The three go by different strides, so that
// every size is in every zone with and without each.
func mixedNodes() []harness.Node {
	const count = 60
	nodes := harness.Nodes("node", count, 0, 0)
	for at := range nodes {
		node := &nodes[at]
		node.Cores = []int64{4, 8, 16}[at/3%3]
		node.Memory = 4 * gigabyte * node.Cores
		node.Labels = map[string]string{corev1.LabelTopologyZone: fmt.Sprintf("zone-%d", at%3)}
		if at%4 == 0 {
			node.Labels["disk"] = "ssd"
		}
		if at%6 == 0 {
			node.Labels["cpu"] = "new"
		}
		switch at % 10 {
		case 4:
			node.Taints = []corev1.Taint{{Key: "dedicated", Value: "batch", Effect: corev1.TaintEffectNoSchedule}}
		case 8:
			node.Taints = []corev1.Taint{{Key: "spot", Effect: corev1.TaintEffectPreferNoSchedule}}
		}
	}
	return nodes
}

// mixedWorkloads differ in what they request and in what they want of their nodes and neighbours.
func mixedWorkloads(namespace string) []harness.Pods {
	var all []harness.Pods
	add := func(name, cpu, memory string, edit func(*corev1.PodSpec)) {
		all = append(all, harness.Pods{Namespace: namespace, Workload: name, CPU: cpu, Memory: memory, Edit: edit})
	}
	tolerate := func(key string) func(*corev1.PodSpec) {
		return func(spec *corev1.PodSpec) {
			spec.Tolerations = append(spec.Tolerations, corev1.Toleration{Key: key, Operator: corev1.TolerationOpExists})
		}
	}
	spread := func(action corev1.UnsatisfiableConstraintAction, name string, topologies ...string) func(*corev1.PodSpec) {
		return func(spec *corev1.PodSpec) {
			for _, topology := range topologies {
				spec.TopologySpreadConstraints = append(spec.TopologySpreadConstraints, corev1.TopologySpreadConstraint{
					MaxSkew: 1, TopologyKey: topology, WhenUnsatisfiable: action, LabelSelector: of(name),
				})
			}
		}
	}
	onSSD := func(spec *corev1.PodSpec) { spec.NodeSelector = map[string]string{"disk": "ssd"} }
	const zone, host = corev1.LabelTopologyZone, corev1.LabelHostname
	add("small", "100m", "128Mi", nil)
	add("large", "2", "4Gi", nil)
	add("memory", "250m", "4Gi", nil)
	add("cpu", "1500m", "256Mi", nil)
	add("giant", "10", "8Gi", nil)
	add("best-effort", "0", "0", func(spec *corev1.PodSpec) { spec.Containers[0].Resources = corev1.ResourceRequirements{} })
	add("tolerant", "200m", "256Mi", tolerate("dedicated"))
	add("spot", "200m", "256Mi", tolerate("spot"))
	add("ssd", "300m", "512Mi", onSSD)
	add("likes-new", "200m", "256Mi", likesNodes)
	add("near-small", "200m", "256Mi", affine(false, preferring(50, "small", host)))
	add("together", "100m", "256Mi", affine(false, requiring("together", zone)))
	add("apart", "100m", "256Mi", affine(true, requiring("apart", host)))
	add("avoids-cpu", "200m", "256Mi", affine(true, preferring(80, "cpu", host)))
	add("hard-zones", "300m", "512Mi", spread(corev1.DoNotSchedule, "hard-zones", zone))
	add("soft", "300m", "512Mi", spread(corev1.ScheduleAnyway, "soft", zone, host))
	add("hard-ssd", "100m", "128Mi", func(spec *corev1.PodSpec) {
		onSSD(spec)
		spread(corev1.DoNotSchedule, "hard-ssd", host)(spec)
	})
	return all
}

// likesNodes prefers new processors, and fast disks less.
func likesNodes(spec *corev1.PodSpec) {
	prefer := func(weight int32, key, value string) corev1.PreferredSchedulingTerm {
		return corev1.PreferredSchedulingTerm{Weight: weight, Preference: corev1.NodeSelectorTerm{
			MatchExpressions: []corev1.NodeSelectorRequirement{{Key: key, Operator: corev1.NodeSelectorOpIn, Values: []string{value}}},
		}}
	}
	spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
		PreferredDuringSchedulingIgnoredDuringExecution: []corev1.PreferredSchedulingTerm{prefer(30, "cpu", "new"), prefer(10, "disk", "ssd")},
	}}
}

// of selects the pods of a workload.
func of(workload string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{"app": workload}}
}

// near is a term of pod affinity; without a weight it is required.
type near struct {
	weight int32
	term   corev1.PodAffinityTerm
}

func preferring(weight int32, workload, topology string) near {
	return near{weight, corev1.PodAffinityTerm{LabelSelector: of(workload), TopologyKey: topology}}
}

func requiring(workload, topology string) near { return preferring(0, workload, topology) }

// affine wants pods near others, or away from them.
func affine(away bool, one near) func(*corev1.PodSpec) {
	var required []corev1.PodAffinityTerm
	var preferred []corev1.WeightedPodAffinityTerm
	if one.weight == 0 {
		required = []corev1.PodAffinityTerm{one.term}
	} else {
		preferred = []corev1.WeightedPodAffinityTerm{{Weight: one.weight, PodAffinityTerm: one.term}}
	}
	return func(spec *corev1.PodSpec) {
		spec.Affinity = &corev1.Affinity{}
		if away {
			spec.Affinity.PodAntiAffinity = &corev1.PodAntiAffinity{
				RequiredDuringSchedulingIgnoredDuringExecution: required, PreferredDuringSchedulingIgnoredDuringExecution: preferred,
			}
		} else {
			spec.Affinity.PodAffinity = &corev1.PodAffinity{
				RequiredDuringSchedulingIgnoredDuringExecution: required, PreferredDuringSchedulingIgnoredDuringExecution: preferred,
			}
		}
	}
}
