package e2e

import (
	"context"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"berth/e2e/harness"
)

// What `doctor` ends with when something does not work.
const refused = 3

// Install: `doctor` finds nothing where all is as docs/operations.md has it, and names what is broken where something is.
func TestOperationsDoctor(t *testing.T) {
	scene := stage(t, 0.93, 0.20, 0.30, 0.40)
	berth := plane.StartBerth(t, harness.BerthOptions{Prometheus: scene.monitoring.URL, KnowsClients: true})
	good := func(edit func(config, extender map[string]any)) string {
		known := certified(t)
		return plane.SchedulerConfig(t, harness.SchedulerOptions{Extender: berth.URL, Edit: func(config, extender map[string]any) {
			known(config, extender)
			if edit != nil {
				edit(config, extender)
			}
		}})
	}
	well := func(t *testing.T) {
		t.Helper()
		findings, code := berth.Doctor(t, harness.Checkup{SchedulerConfig: good(nil)})
		for _, finding := range findings {
			t.Logf("%s: %s: %s %s", finding.Verdict, finding.Check, finding.Said, finding.Advice)
			if finding.Verdict != "ok" {
				t.Errorf("%s is not well: %s", finding.Check, finding.Said)
			}
		}
		if code != 0 {
			t.Errorf("doctor ends with %d", code)
		}
	}
	t.Run("all is well", well)
	stanza := func(edit func(extender map[string]any)) harness.Checkup {
		return harness.Checkup{SchedulerConfig: good(func(_, extender map[string]any) { edit(extender) })}
	}
	trust := func(edit func(trust map[string]any)) harness.Checkup {
		return stanza(func(extender map[string]any) { edit(extender["tlsConfig"].(map[string]any)) })
	}
	with := func(flag, value string) harness.Checkup {
		return harness.Checkup{SchedulerConfig: good(nil), Flags: map[string]string{flag: value}}
	}
	as := func(kubeconfig string) harness.Checkup {
		return harness.Checkup{SchedulerConfig: good(nil), Environment: []string{"KUBECONFIG=" + kubeconfig}}
	}
	broken := filepath.Join(t.TempDir(), "rules.toml")
	must(t, os.WriteFile(broken, []byte(`mode = "activ"`), 0o644))
	annotating := filepath.Join(t.TempDir(), "annotate.toml")
	must(t, os.WriteFile(annotating, []byte("annotate = true"), 0o644))
	tainting := filepath.Join(t.TempDir(), "taint.toml")
	must(t, os.WriteFile(tainting, []byte("[quarantine]\ntaint = true"), 0o644))
	stranger, err := harness.NewAuthority("another")
	must(t, err)
	other, err := stranger.Issue("scheduler-extender", nil, harness.Tomorrow())
	must(t, err)
	_, otherKey, err := other.Write(t.TempDir(), "other")
	must(t, err)
	for _, one := range []struct {
		name           string
		but            harness.Checkup
		code           int
		check, verdict string
		said           string
	}{
		{"no rights", as(account(t, "nobody", nil)), refused, "API server", "failed", "forbidden"},
		{"reading rights only", as(account(t, "reader", []string{"get", "list", "watch"})), refused, "RBAC", "failed", "create events"},
		{"annotations without the right", with("--rules", annotating), refused, "RBAC", "failed", "patch pods"},
		{"taints without the right", with("--rules", tainting), refused, "RBAC", "failed", "patch nodes"},
		{"Prometheus away", with("--prometheus", "http://127.0.0.1:1"), refused, "Prometheus", "failed", "127.0.0.1:1"},
		{"no models", harness.Checkup{SchedulerConfig: good(nil), Data: t.TempDir()}, refused, "models", "failed", "names no version"},
		{"rules that cannot be used", with("--rules", broken), refused, "rules", "failed", "activ"},
		{"a key of another certificate", with("--tls-key-file", otherKey), refused, "TLS", "failed", "do not fit together"},
		{"no stanza", harness.Checkup{SchedulerConfig: plane.SchedulerConfig(t, harness.SchedulerOptions{})}, refused, "kube-scheduler", "failed", "0 extenders"},
		{"no file of kube-scheduler", harness.Checkup{SchedulerConfig: broken + ".yaml"}, refused, "kube-scheduler", "failed", "rules.toml.yaml"},
		{"no caData", trust(func(trust map[string]any) { delete(trust, "caData") }), refused, "kube-scheduler", "failed", "does not check the certificate"},
		{"caData of another authority", trust(func(trust map[string]any) {
			trust["caData"] = base64.StdEncoding.EncodeToString(stranger.PEM)
		}), refused, "kube-scheduler", "failed", "not take this extender's certificate"},
		{"no client certificate", trust(func(trust map[string]any) { delete(trust, "certFile") }), refused, "kube-scheduler", "failed", "no client certificate"},
		{"an address that the certificate does not name", stanza(func(extender map[string]any) {
			extender["urlPrefix"] = "https://berth.example:8443"
		}), refused, "kube-scheduler", "failed", "berth.example"},
		{"an address without TLS", stanza(func(extender map[string]any) {
			extender["urlPrefix"] = strings.Replace(berth.URL, "https", "http", 1)
		}), refused, "kube-scheduler", "failed", "the extender speaks TLS"},
		{"httpTimeout below the deadline", stanza(func(extender map[string]any) { extender["httpTimeout"] = "100ms" }), refused, "kube-scheduler", "failed", "not above the deadline"},
		{"not ignorable", stanza(func(extender map[string]any) { delete(extender, "ignorable") }), refused, "kube-scheduler", "failed", "every pod pending"},
		{"whole nodes", stanza(func(extender map[string]any) { extender["nodeCacheCapable"] = false }), 0, "kube-scheduler", "warning", "whole nodes"},
	} {
		t.Run(strings.ReplaceAll(one.name, " ", "-"), func(t *testing.T) { checkFinding(t, berth, one.but, one.code, one.check, one.verdict, one.said) })
	}
	t.Run("nodes without metrics", func(t *testing.T) {
		plane.CreateNodes(t, harness.Nodes("unseen", 2, 8, 32*gigabyte))
		checkFinding(t, berth, harness.Checkup{SchedulerConfig: good(nil)}, refused, "node mapping", "failed", "67 %")
	})
}

// checkFinding wants one finding, and that it is the only check that is not well.
func checkFinding(t *testing.T, berth *harness.Berth, but harness.Checkup, code int, check, verdict, said string) {
	t.Helper()
	findings, ended := berth.Doctor(t, but)
	found := false
	for _, finding := range findings {
		if finding.Verdict == "ok" {
			continue
		}
		t.Logf("%s: %s: %s → %s", finding.Verdict, finding.Check, finding.Said, finding.Advice)
		is := finding.Check == check && finding.Verdict == verdict
		found = found || is && strings.Contains(finding.Said, said) && finding.Advice != ""
		if finding.Check != check {
			t.Errorf("%s is not well either", finding.Check)
		}
	}
	if !found || ended != code {
		t.Errorf("doctor ends with %d, want %d, and `%s` %s with `%s`: %v", ended, code, check, verdict, said, found)
	}
}

// account makes a service account that may do `verbs` to pods and nodes, and returns its kubeconfig.
func account(t *testing.T, name string, verbs []string) string {
	t.Helper()
	all := context.Background()
	accounts := plane.Client.CoreV1().ServiceAccounts("berth")
	object := metav1.ObjectMeta{Name: name}
	_, err := accounts.Create(all, &corev1.ServiceAccount{ObjectMeta: object}, metav1.CreateOptions{})
	must(t, err)
	t.Cleanup(func() { must(t, accounts.Delete(all, name, metav1.DeleteOptions{})) })
	if verbs != nil {
		roles, bindings := plane.Client.RbacV1().ClusterRoles(), plane.Client.RbacV1().ClusterRoleBindings()
		rules := []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods", "nodes"}, Verbs: verbs}}
		_, err := roles.Create(all, &rbacv1.ClusterRole{ObjectMeta: object, Rules: rules}, metav1.CreateOptions{})
		must(t, err)
		t.Cleanup(func() { must(t, roles.Delete(all, name, metav1.DeleteOptions{})) })
		_, err = bindings.Create(all, &rbacv1.ClusterRoleBinding{
			ObjectMeta: object, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: "berth", Name: name}},
		}, metav1.CreateOptions{})
		must(t, err)
		t.Cleanup(func() { must(t, bindings.Delete(all, name, metav1.DeleteOptions{})) })
	}
	kubeconfig, err := plane.TokenKubeconfig("berth", name)
	must(t, err)
	return kubeconfig
}
