package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"berth/e2e/harness"
)

const gigabyte = 1 << 30

// withFilter takes in the filter verb, in either mode of the node cache.
func withFilter(cached bool) func(map[string]any, map[string]any) {
	return func(_, extender map[string]any) {
		extender["filterVerb"] = "filter"
		extender["nodeCacheCapable"] = cached
	}
}

func flat(string) int64 { return 5 }

// What kube-scheduler really sends is what the extender's contract tests read.
func TestWireRequests(t *testing.T) {
	for mode, cached := range map[string]bool{"names": true, "nodes": false} {
		t.Run(mode, func(t *testing.T) {
			namespace := plane.TestNamespace(t, "wire-"+mode)
			plane.CreateNodes(t, harness.Nodes("node", 3, 4, 16*gigabyte))
			wire := plane.OpenWireWith(t, harness.Prioritize(flat), cached)
			plane.StartScheduler(t, harness.SchedulerOptions{Extender: wire.URL, Edit: withFilter(cached)})
			bindings := plane.WatchPods(t, namespace)
			pods := harness.Pods{Namespace: namespace, Workload: "cart", Count: 4, CPU: "500m", Memory: "256Mi"}
			plane.CreatePods(t, pods)
			bindings.Wait(t, 4, patience)
			calls := wire.Calls()
			if len(calls) != 8 || calls[0].Path != "/filter" || calls[1].Path != "/prioritize" {
				t.Fatalf("%d calls, the first two %v, want filter and prioritize for each of 4 pods", len(calls), paths(calls))
			}
			for at, call := range calls {
				checkRequest(t, call, cached)
				if call.Remote != calls[0].Remote {
					t.Errorf("call %d came by %s and the first by %s, want one connection that is kept", at, call.Remote, calls[0].Remote)
				}
			}
			if want := map[bool]string{true: "HTTP/2.0", false: "HTTP/1.1"}[cached]; calls[0].Protocol != want {
				t.Errorf("kube-scheduler speaks %s, and %s is offered", calls[0].Protocol, want)
			}
			t.Logf("%s, %d bytes for 3 nodes, headers %v", calls[0].Protocol, len(calls[1].Body), calls[0].Header)
			checkGolden(t, "filter-"+mode, calls[0])
			checkGolden(t, "prioritize-"+mode, calls[1])
		})
	}
}

func paths(calls []harness.Call) []string {
	var all []string
	for _, call := range calls {
		all = append(all, call.Path)
	}
	return all
}

func checkRequest(t *testing.T, call harness.Call, cached bool) {
	t.Helper()
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(call.Body, &raw); err != nil {
		t.Fatal(err)
	}
	full, empty := "Nodes", "NodeNames"
	if cached {
		full, empty = empty, full
	}
	if string(raw[empty]) != "null" || len(raw[full]) < 2 || len(raw["Pod"]) < 2 || len(raw) != 3 {
		t.Errorf("%s has the keys %v, want Pod, %s, and %s as null", call.Path, keys(raw), full, empty)
	}
	if kind := call.Header.Get("Content-Type"); kind != "application/json" {
		t.Errorf("Content-Type is `%s`", kind)
	}
	if call.Header.Get("Authorization") != "" {
		t.Error("a token is sent, which the extender could ask for")
	}
}

func keys[V any](all map[string]V) []string {
	var names []string
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// checkGolden compares the shape of a request with the recorded one; BERTH_GOLDEN=write records it anew.
func checkGolden(t *testing.T, name string, call harness.Call) {
	t.Helper()
	if os.Getenv("BERTH_GOLDEN") == "write" {
		if err := plane.SaveGolden(name, call); err != nil {
			t.Fatal(err)
		}
		return
	}
	path := filepath.Join(plane.Repository, "scheduler-extender", "tests", "golden", name+".json")
	recorded, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v: BERTH_GOLDEN=write records what kube-scheduler sends", err)
	}
	want, got := shape(t, recorded), shape(t, call.Body)
	for at := range want {
		if !slices.Contains(got, want[at]) {
			t.Errorf("%s: `%s` is recorded and is not sent any more", name, want[at])
		}
	}
	for at := range got {
		if !slices.Contains(want, got[at]) {
			t.Errorf("%s: `%s` is sent and not recorded", name, got[at])
		}
	}
}

// shape lists the paths of all values, without the values and without the names of managers.
func shape(t *testing.T, text []byte) []string {
	t.Helper()
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		t.Fatal(err)
	}
	var all []string
	var walk func(path string, value any)
	walk = func(path string, value any) {
		switch value := value.(type) {
		case map[string]any:
			for key, inner := range value {
				if key != "managedFields" {
					walk(path+"."+key, inner)
				}
			}
		case []any:
			for _, inner := range value {
				walk(path+"[]", inner)
			}
		case nil:
			all = append(all, path+": null")
		default:
			all = append(all, fmt.Sprintf("%s: %T", path, value))
		}
	}
	walk("", value)
	slices.Sort(all)
	return slices.Compact(all)
}

// kube-scheduler reads an answer up to the end of its JSON and no further. Under HTTP/1.1 an answer in chunks, whose end is then still
// unread, costs the connection: the next call begins with a new TLS handshake.
func TestWireConnections(t *testing.T) {
	namespace := plane.TestNamespace(t, "wire-connections")
	plane.CreateNodes(t, harness.Nodes("node", 3, 64, 256*gigabyte))
	bindings := plane.WatchPods(t, namespace)
	whole := harness.Prioritize(flat)
	chunked := func(response http.ResponseWriter, request *http.Request) {
		answer := `[{"Host":"node-000","Score":1}]`
		for at := range answer {
			_, _ = response.Write([]byte{answer[at]})
			_ = http.NewResponseController(response).Flush()
		}
	}
	total := 0
	for _, one := range []struct {
		name          string
		answer        http.HandlerFunc
		http2, isKept bool
	}{{"HTTP/1.1, whole", whole, false, true}, {"HTTP/1.1, in chunks", chunked, false, false}, {"HTTP/2, in chunks", chunked, true, true}} {
		wire := plane.OpenWireWith(t, one.answer, one.http2)
		scheduler := plane.StartScheduler(t, harness.SchedulerOptions{Extender: wire.URL})
		const count = 5
		name := fmt.Sprintf("connections-%d", total)
		plane.CreatePods(t, harness.Pods{Namespace: namespace, Workload: name, Count: count, CPU: "100m", Memory: "64Mi"})
		total += count
		bindings.Wait(t, total, patience)
		scheduler.Stop()
		remotes := map[string]bool{}
		for _, call := range wire.Calls() {
			remotes[call.Remote] = true
		}
		if calls := len(wire.Calls()); calls != count || (len(remotes) == 1) != one.isKept {
			t.Errorf("%s: %d connections for %d calls, want one: %v", one.name, len(remotes), calls, one.isKept)
		}
	}
}

// One feasible node needs no scores, so prioritize is not called.
func TestWireOneNodeIsNotPrioritized(t *testing.T) {
	namespace := plane.TestNamespace(t, "wire-one")
	plane.CreateNodes(t, harness.Nodes("node", 1, 4, 16*gigabyte))
	wire := plane.OpenWire(t, harness.Prioritize(flat))
	plane.StartScheduler(t, harness.SchedulerOptions{Extender: wire.URL})
	bindings := plane.WatchPods(t, namespace)
	plane.CreatePods(t, harness.Pods{Namespace: namespace, Count: 2, CPU: "100m", Memory: "64Mi"})
	bindings.Wait(t, 2, patience)
	if calls := wire.Calls(); len(calls) != 0 {
		t.Errorf("%d calls, want none: %v", len(calls), paths(calls))
	}
}

// Whatever the extender answers to prioritize, kube-scheduler binds; what it takes as scores is told by where pods go.
func TestWirePrioritizeAnswers(t *testing.T) {
	namespace := plane.TestNamespace(t, "wire-answers")
	plane.CreateNodes(t, harness.Nodes("node", 3, 64, 256*gigabyte))
	wire := plane.OpenWire(t, harness.Prioritize(flat))
	plane.StartScheduler(t, harness.SchedulerOptions{Extender: wire.URL})
	bindings := plane.WatchPods(t, namespace)
	say := func(status int, body string) http.HandlerFunc {
		return func(response http.ResponseWriter, _ *http.Request) {
			response.WriteHeader(status)
			_, _ = response.Write([]byte(body))
		}
	}
	lists := func(scores string) http.HandlerFunc { return say(http.StatusOK, scores) }
	total := 0
	for _, one := range []struct {
		name   string
		answer http.HandlerFunc
		// only is the node that all pods must go to; empty where the answer must change nothing.
		only string
	}{
		{"the best score wins", lists(`[{"Host":"node-001","Score":10},{"Host":"node-000","Score":0}]`), "node-001"},
		{"lower-case keys count as well", lists(`[{"host":"node-002","score":10}]`), "node-002"},
		{"scores below zero are not clamped", lists(`[{"Host":"node-000","Score":-9},{"Host":"node-002","Score":-9}]`), "node-001"},
		{"unknown nodes are passed over", lists(`[{"Host":"node-999","Score":10},{"Host":"node-000","Score":9}]`), "node-000"},
		{"an empty list", lists(`[]`), ""},
		{"null", lists(`null`), ""},
		{"an empty body", lists(``), ""},
		{"garbage", lists(`<html>`), ""},
		{"a score that is no whole number", lists(`[{"Host":"node-000","Score":9.5}]`), ""},
		{"500 with scores", say(http.StatusInternalServerError, `[{"Host":"node-000","Score":10}]`), ""},
		{"201 with scores", say(http.StatusCreated, `[{"Host":"node-000","Score":10}]`), ""},
	} {
		wire.Answer(one.answer)
		const count = 6
		name := fmt.Sprintf("case-%d", total/count)
		plane.CreatePods(t, harness.Pods{Namespace: namespace, Workload: name, Count: count, CPU: "1", Memory: "4Gi"})
		total += count
		bindings.Wait(t, total, patience)
		nodes := map[string]int{}
		for _, bound := range bindings.All() {
			if bound.Pod.Labels["app"] == name {
				nodes[bound.Node]++
			}
		}
		// Alone, kube-scheduler spreads pods that request much; scores would bring them all to one node.
		if (one.only != "" && nodes[one.only] != count) || (one.only == "" && len(nodes) < 2) {
			t.Errorf("%s: pods went to %v, want all on `%s` (empty: on several)", one.name, nodes, one.only)
		}
	}
}

// What a failing filter call does to a pod, with and without `ignorable`.
func TestWireFilterAnswers(t *testing.T) {
	namespace := plane.TestNamespace(t, "wire-filter")
	plane.CreateNodes(t, harness.Nodes("node", 3, 64, 256*gigabyte))
	for _, one := range []struct {
		name, answer string
		status       int
		ignorable    bool
		binds        bool
		reason       string
	}{
		{"an error is skipped", ``, 500, true, true, ""},
		{"garbage is skipped", `<html>`, 200, true, true, ""},
		{"an Error is skipped", `{"Error":"no models"}`, 200, true, true, ""},
		{"a name that was not offered is skipped", `{"NodeNames":["node-999"]}`, 200, true, true, ""},
		{"an error fails the pod", ``, 500, false, false, "failed filter"},
		{"a name that was not offered fails the pod", `{"NodeNames":["node-999"]}`, 200, false, false, "not found in the input node list"},
		{"neither list rejects every node", `{}`, 200, true, false, "0/3 nodes are available"},
		{"an empty list rejects every node", `{"NodeNames":[],"FailedAndUnresolvableNodes":{"node-000":"forecast over 95 %"}}`, 200, true, false, "forecast over 95 %"},
	} {
		t.Run(strings.ReplaceAll(one.name, " ", "-"), func(t *testing.T) {
			wire := plane.OpenWire(t, func(response http.ResponseWriter, request *http.Request) {
				if request.URL.Path != "/filter" {
					harness.Prioritize(flat)(response, request)
					return
				}
				response.WriteHeader(one.status)
				_, _ = response.Write([]byte(one.answer))
			})
			edit := func(config, extender map[string]any) {
				withFilter(true)(config, extender)
				extender["ignorable"] = one.ignorable
			}
			plane.StartScheduler(t, harness.SchedulerOptions{Extender: wire.URL, Edit: edit})
			bindings := plane.WatchPods(t, namespace)
			name := fmt.Sprintf("w%d", len(bindings.All()))
			plane.CreatePods(t, harness.Pods{Namespace: namespace, Workload: name, Count: 1, CPU: "100m", Memory: "64Mi"})
			harness.Eventually(t, "kube-scheduler has decided", patience, func() error {
				for _, bound := range bindings.All() {
					if !strings.HasPrefix(bound.Pod.Name, name+"-") {
						continue
					}
					if bound.Node != "" && one.binds {
						return nil
					}
					for _, condition := range bound.Pod.Status.Conditions {
						if condition.Type == corev1.PodScheduled && !one.binds && strings.Contains(condition.Message, one.reason) {
							return nil
						}
					}
					return fmt.Errorf("pod is on `%s`, conditions %v", bound.Node, bound.Pod.Status.Conditions)
				}
				return fmt.Errorf("the pod is not there yet")
			})
			plane.RemovePods(t, namespace)
		})
	}
}

// A certificate that ended, or that somebody else signed, is refused: kube-scheduler goes on alone.
func TestWireVerifiesTheCertificate(t *testing.T) {
	namespace := plane.TestNamespace(t, "wire-tls")
	plane.CreateNodes(t, harness.Nodes("node", 3, 4, 16*gigabyte))
	wire := plane.OpenWire(t, harness.Prioritize(flat))
	stranger, err := harness.NewAuthority("somebody else")
	if err != nil {
		t.Fatal(err)
	}
	wire.Present(t, stranger, harness.Tomorrow())
	plane.StartScheduler(t, harness.SchedulerOptions{Extender: wire.URL})
	bindings := plane.WatchPods(t, namespace)
	plane.CreatePods(t, harness.Pods{Namespace: namespace, Count: 2, CPU: "100m", Memory: "64Mi"})
	bindings.Wait(t, 2, patience)
	if calls := wire.Calls(); len(calls) != 0 {
		t.Errorf("%d calls were sent to a stranger", len(calls))
	}
}
