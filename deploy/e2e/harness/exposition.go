package harness

import (
	"fmt"
	"strings"
	"time"
)

// families are the series of node_exporter, kube-state-metrics and cAdvisor that Berth asks for, in the text formats of
// Prometheus (no times) and OpenMetrics (with them).
type families struct {
	order []string
	kinds map[string]string
	text  map[string]*strings.Builder
	// times says whether samples carry their time.
	times bool
	// poison replaces every value, such as by NaN.
	poison string
}

func newFamilies(times bool) *families {
	return &families{kinds: map[string]string{}, text: map[string]*strings.Builder{}, times: times}
}

func (f *families) put(name, kind, labels string, value float64, at time.Time) {
	text := f.text[name]
	if text == nil {
		text = &strings.Builder{}
		f.order, f.text[name], f.kinds[name] = append(f.order, name), text, kind
	}
	said := fmt.Sprintf("%.10g", value)
	if f.poison != "" {
		said = f.poison
	}
	fmt.Fprintf(text, "%s{%s} %s", name, labels, said)
	if f.times {
		fmt.Fprintf(text, " %d", at.Unix())
	}
	text.WriteByte('\n')
}

func (f *families) String() string {
	var all strings.Builder
	for _, name := range f.order {
		family := name
		if f.times {
			// In OpenMetrics the family of a counter has no suffix.
			family = strings.TrimSuffix(name, "_total")
		}
		fmt.Fprintf(&all, "# TYPE %s %s\n%s", family, f.kinds[name], f.text[name])
	}
	if f.times {
		all.WriteString("# EOF\n")
	}
	return all.String()
}

const stateMetrics = `instance="10.255.0.9:8080",job="kube-state-metrics"`

// write puts the machine's series as of its last advance.
func (m *Machine) write(f *families) {
	at := m.last
	own := fmt.Sprintf(`instance="%s:9100",job="node-exporter"`, m.Address)
	node := fmt.Sprintf(`node="%s",%s`, m.Name, stateMetrics)
	counter := func(name, labels string, value float64) { f.put(name, "counter", labels, value, at) }
	gauge := func(name, labels string, value float64) { f.put(name, "gauge", labels, value, at) }

	counter("node_cpu_seconds_total", `cpu="0",mode="idle",`+own, m.idle)
	counter("node_cpu_seconds_total", `cpu="0",mode="user",`+own, m.cpu)
	gauge("node_memory_MemTotal_bytes", own, float64(m.Memory))
	gauge("node_memory_MemAvailable_bytes", own, float64(m.Memory)*(1-m.usage.Memory))
	gauge("node_load1", own, m.usage.CPU*float64(m.Cores))
	gauge("node_time_seconds", own, float64(at.Unix()))
	gauge("node_boot_time_seconds", own, float64(m.booted.Unix()))
	gauge("node_uname_info", fmt.Sprintf(`nodename="%s",sysname="Linux",%s`, m.Name, own), 1)
	disk := `device="/dev/nvme0n1p1",fstype="ext4",mountpoint="/",` + own
	gauge("node_filesystem_size_bytes", disk, 100e9)
	gauge("node_filesystem_avail_bytes", disk, 60e9)
	counter("node_network_receive_bytes_total", `device="eth0",`+own, m.received)
	counter("node_network_transmit_bytes_total", `device="eth0",`+own, m.sent)
	counter("node_disk_read_bytes_total", `device="nvme0n1",`+own, m.read)
	counter("node_disk_written_bytes_total", `device="nvme0n1",`+own, m.written)
	counter("node_disk_io_time_seconds_total", `device="nvme0n1",`+own, m.busy)
	counter("node_pressure_cpu_waiting_seconds_total", own, m.cpuWait)
	counter("node_pressure_memory_waiting_seconds_total", own, m.memoryWait)

	gauge("kube_node_info", fmt.Sprintf(`internal_ip="%s",%s`, m.Address, node), 1)
	gauge("kube_node_status_allocatable", `resource="cpu",unit="core",`+node, float64(m.Cores))
	gauge("kube_node_status_allocatable", `resource="memory",unit="byte",`+node, float64(m.Memory))
	for status, value := range map[string]float64{"true": 1, "false": 0, "unknown": 0} {
		gauge("kube_node_status_condition", fmt.Sprintf(`condition="Ready",status="%s",%s`, status, node), value)
	}
	for _, pod := range m.pods {
		pod.write(f, m.Name, at)
	}
}

func (p *podUsage) write(f *families, node string, at time.Time) {
	gauge := func(name, labels string, value float64) { f.put(name, "gauge", labels, value, at) }
	pod := fmt.Sprintf(`namespace="%s",pod="%s",uid="%s",%s`, p.namespace, p.name, p.uid, stateMetrics)
	placed := fmt.Sprintf(`node="%s",%s`, node, pod)
	created := float64(p.created.Unix())
	gauge("kube_pod_info", placed, 1)
	gauge("kube_pod_status_phase", `phase="Running",`+pod, 1)
	gauge("kube_pod_created", pod, created)
	gauge("kube_pod_status_scheduled_time", pod, created)
	gauge("kube_pod_start_time", pod, created)
	gauge("kube_pod_owner", fmt.Sprintf(`owner_kind="%s",owner_name="%s",%s`, p.ownerKind, p.owner, pod), 1)
	gauge("kube_pod_container_resource_requests", `container="main",resource="cpu",unit="core",`+placed, p.cpuRequest)
	gauge("kube_pod_container_resource_requests", `container="main",resource="memory",unit="byte",`+placed, p.memoryRequest)
	container := fmt.Sprintf(`namespace="%s",pod="%s",container="main",job="cadvisor"`, p.namespace, p.name)
	f.put("container_cpu_usage_seconds_total", "counter", container, p.counted, at)
	gauge("container_memory_working_set_bytes", container, p.bytes)
}
