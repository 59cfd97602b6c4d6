package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/e2e/harness"
)

// How much history the models see before a test begins. A day more changes forecasts of such steady nodes by some points, and takes
// promtool ten times as long.
const history = 6 * time.Hour

// active answers every pod with scores.
const active = `mode = "active"`

// scene is a fleet with its history, on the way to a test's pods.
type scene struct {
	nodes      []harness.Node
	monitoring *harness.Monitoring
}

// stage makes nodes that use the given shares of their CPU, named node-000 and on, each with 8 cores and 32 GiB.
func stage(t *testing.T, levels ...float64) scene {
	t.Helper()
	nodes := harness.Nodes("node", len(levels), 8, 32*gigabyte)
	return open(t, nodes, levels, harness.History{Span: history}, nil)
}

// open makes the nodes and starts their monitoring; `edit` changes a machine before its history begins.
func open(t *testing.T, nodes []harness.Node, levels []float64, past harness.History, edit func(*harness.Machine)) scene {
	t.Helper()
	var machines []*harness.Machine
	for at, node := range nodes {
		machine := &harness.Machine{Node: node, Profile: harness.Steady(levels[at], 0.3)}
		if edit != nil {
			edit(machine)
		}
		machines = append(machines, machine)
	}
	monitoring := harness.StartMonitoring(t, machines, past)
	plane.CreateNodes(t, nodes)
	return scene{nodes, monitoring}
}

// berth starts the extender on the scene.
func (s scene) berth(t *testing.T, rules string, arguments ...string) *harness.Berth {
	t.Helper()
	return plane.StartBerth(t, harness.BerthOptions{Prometheus: s.monitoring.URL, Rules: rules, Arguments: arguments})
}

var namespaces int

// burst creates pods at once under a kube-scheduler of its own and tells where they went.
func burst(t *testing.T, extender string, pods harness.Pods) (harness.Placement, []harness.Bound) {
	t.Helper()
	scheduler := plane.StartScheduler(t, harness.SchedulerOptions{Extender: extender})
	defer scheduler.Stop()
	return create(t, pods)
}

// create creates pods in a namespace of their own and waits until all are bound. They are gone afterwards.
func create(t *testing.T, pods harness.Pods) (harness.Placement, []harness.Bound) {
	t.Helper()
	pods.Namespace = newNamespace(t)
	defer plane.RemovePods(t, pods.Namespace)
	bindings := plane.WatchPods(t, pods.Namespace)
	plane.CreatePods(t, pods)
	placement := bindings.Wait(t, pods.Count, patience)
	return placement, bindings.All()
}

func newNamespace(t *testing.T) string {
	t.Helper()
	namespaces++
	name := fmt.Sprintf("pods-%03d", namespaces)
	if err := plane.Namespace(name); err != nil {
		t.Fatal(err)
	}
	return name
}

// after is the share of CPU that each node uses with the pods on it, where pods use what they request.
func (s scene) after(levels []float64, placement harness.Placement, cores float64) map[string]float64 {
	used := map[string]float64{}
	for at, node := range s.nodes {
		used[node.Name] = levels[at] + cores*float64(placement.ByNode[node.Name])/float64(node.Cores)
	}
	return used
}

func highest(used map[string]float64) float64 {
	most := 0.0
	for _, share := range used {
		most = max(most, share)
	}
	return most
}

// table shows nodes and numbers in the order of names.
func table[V any](byNode map[string]V, format string) string {
	var cells []string
	for name, value := range byNode {
		cells = append(cells, fmt.Sprintf("%s "+format, strings.TrimPrefix(name, "node-"), value))
	}
	slices.Sort(cells)
	return strings.Join(cells, ", ")
}

func jsonText(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
