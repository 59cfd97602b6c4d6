package harness

import (
	"hash/fnv"
	"math"
	"time"
)

// Usage is what a node does, as shares of its room.
type Usage struct{ CPU, Memory float64 }

// Steady keeps a level, with the noise and the slow swing that any real node has.
func Steady(cpu, memory float64) func(node string, at time.Time) Usage {
	return func(node string, at time.Time) Usage {
		hour := float64(at.Unix()) / 3600
		swing := 0.02 * math.Sin(2*math.Pi*hour/24)
		return Usage{
			CPU:    clamp(cpu + swing + 0.02*noise(node+"/cpu", at)),
			Memory: clamp(memory + 0.3*swing + 0.005*noise(node+"/memory", at)),
		}
	}
}

// noise is the same for a node and a minute, and lies within -1..1.
func noise(name string, at time.Time) float64 {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(name))
	_, _ = hash.Write([]byte(at.UTC().Format("200601021504")))
	return float64(hash.Sum64()%2001)/1000 - 1
}

func clamp(share float64) float64 { return min(max(share, 0), 1) }

// Machine is a node with what it does, as its exporters would count it.
type Machine struct {
	Node
	Profile func(node string, at time.Time) Usage
	// Rebooted is how long before the end of its history it was rebooted; zero: never.
	Rebooted time.Duration
	// Counters since the machine booted.
	cpu, idle, received, sent, read, written, busy, cpuWait, memoryWait float64
	usage                                                               Usage
	booted, last                                                        time.Time
	pods                                                                map[string]*podUsage
}

// podUsage is a pod that runs on a machine.
type podUsage struct {
	namespace, name, uid, ownerKind, owner string
	cpuRequest, memoryRequest              float64
	cores, bytes                           float64
	created                                time.Time
	counted                                float64
}

// reboot sets uptime and counters back.
func (m *Machine) reboot(at time.Time) {
	*m = Machine{Node: m.Node, Profile: m.Profile, booted: at, last: at, pods: m.pods}
}

// advance counts on until `at`. The pods' usage comes on top of the profile.
func (m *Machine) advance(at time.Time) {
	usage := m.Profile(m.Name, at)
	cores, bytes := usage.CPU*float64(m.Cores), usage.Memory*float64(m.Memory)
	seconds := at.Sub(m.last).Seconds()
	for _, pod := range m.pods {
		cores += pod.cores
		bytes += pod.bytes
		pod.counted += pod.cores * seconds
	}
	m.usage = Usage{CPU: clamp(cores / float64(m.Cores)), Memory: clamp(bytes / float64(m.Memory))}
	used := m.usage.CPU * float64(m.Cores)
	m.cpu += used * seconds
	m.idle += (float64(m.Cores) - used) * seconds
	// Traffic and disks follow the work.
	m.received += seconds * (1e6 + 2e7*m.usage.CPU)
	m.sent += seconds * (1e6 + 1.5e7*m.usage.CPU)
	m.read += seconds * (2e5 + 2e6*m.usage.CPU)
	m.written += seconds * (5e5 + 5e6*m.usage.CPU)
	m.busy += seconds * (0.02 + 0.1*m.usage.CPU)
	m.cpuWait += seconds * max(0, m.usage.CPU-0.7)
	m.memoryWait += seconds * max(0, m.usage.Memory-0.9)
	m.last = at
}
