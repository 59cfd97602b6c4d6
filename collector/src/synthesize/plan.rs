//! Which pod lives where and when: the controllers and the scheduler of the made-up cluster, minute by minute.

use super::incident::{EVICTION_DELAY_MS, Fault, Incident, incidents};
use super::shape::{Machine, machines};
use super::workload::{Kind, Workload, workloads};
use cluster::{DAY_MS, HOUR_MS, MINUTE_MS};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use synthetic::noise::{between, generator, normal};

/// The life of one pod.
#[derive(Debug, Clone, PartialEq)]
pub struct PodLife {
    /// Its UID.
    pub uid: String,
    /// Its name.
    pub name: String,
    /// Its workload, as an index.
    pub workload: usize,
    /// Its node, as an index; `None` while it waits for room.
    pub node: Option<usize>,
    /// Creation.
    pub created: i64,
    /// Binding to its node.
    pub scheduled: Option<i64>,
    /// Start of its container.
    pub started: Option<i64>,
    /// End of its life.
    pub finished: Option<i64>,
    /// `Running`, `Pending`, `Succeeded` or `Failed` at the end of the span.
    pub phase: &'static str,
    /// Its share of the workload's load ÷ the mean share.
    pub share: f64,
    /// CPU that it uses whatever the demand, in cores; only for the culprit of a noisy-neighbour incident.
    pub fixed_cpu: Option<f64>,
}

/// The whole history of a made-up cluster but for the measured values.
#[derive(Debug)]
pub struct Plan {
    /// First moment.
    pub start: i64,
    /// The moment after the last one.
    pub end: i64,
    /// Its nodes.
    pub machines: Vec<Machine>,
    /// Its workloads.
    pub workloads: Vec<Workload>,
    /// Its pods, in order of creation.
    pub pods: Vec<PodLife>,
    /// What goes wrong.
    pub incidents: Vec<Incident>,
    /// Pods of each workload that share its load, by minute since the start.
    pub replicas: Vec<Vec<u16>>,
}

/// No node runs more pods than the kubelet's default limit.
const MAX_PODS: u32 = 110;

/// Plays the controllers from `start` to `end`.
pub fn plan(seed: u64, nodes: usize, start: i64, end: i64) -> Plan {
    let machines = machines(seed, nodes);
    let workloads = workloads(seed, &machines);
    let incidents = incidents(seed, &machines, start, end);
    let mut controller = Controller::new(seed, &machines, &workloads, start);
    let minutes = (end - start) / MINUTE_MS;
    let mut replicas = vec![Vec::with_capacity(minutes as usize); workloads.len()];
    controller.fill();
    for minute in 0..minutes {
        let now = start + minute * MINUTE_MS;
        controller.nodes_change(now, &incidents);
        controller.pods_end(now);
        controller.jobs_start(now);
        controller.services_follow(now);
        controller.schedule(now);
        for (workload, counts) in replicas.iter_mut().enumerate() {
            counts.push(controller.services[workload].live.len().min(usize::from(u16::MAX)) as u16);
        }
    }
    let pods = controller.pods;
    Plan { start, end, machines, workloads, pods, incidents, replicas }
}

/// What a controller knows of one workload.
#[derive(Debug, Default)]
struct Service {
    /// Its living pods, oldest first.
    live: VecDeque<usize>,
    /// How many there should be.
    desired: usize,
    /// How many a rollout has still to replace.
    to_replace: usize,
    /// When the next rollout begins.
    next_rollout: i64,
    /// The hash that a ReplicaSet puts into its pods' names.
    generation: String,
    /// Living pods by node, to spread them.
    per_node: Vec<u16>,
}

#[derive(Debug, Clone, Copy)]
struct NodeState {
    cpu_free: f64,
    memory_free: f64,
    pods: u32,
    ready: bool,
}

struct Controller<'a> {
    machines: &'a [Machine],
    workloads: &'a [Workload],
    start: i64,
    pods: Vec<PodLife>,
    services: Vec<Service>,
    nodes: Vec<NodeState>,
    on_node: Vec<Vec<usize>>,
    pending: VecDeque<usize>,
    /// Pods that end by themselves, the next one first.
    ends: BinaryHeap<Reverse<(i64, usize)>>,
    names: ChaCha8Rng,
    lives: ChaCha8Rng,
    rollouts: ChaCha8Rng,
    jobs: ChaCha8Rng,
    /// The next incident that begins.
    next_incident: usize,
    /// Evictions and returns of nodes to come.
    node_events: BinaryHeap<Reverse<(i64, usize, bool)>>,
}

impl<'a> Controller<'a> {
    fn new(seed: u64, machines: &'a [Machine], workloads: &'a [Workload], start: i64) -> Self {
        let mut names = generator(seed, "names", 0);
        let mut rollouts = generator(seed, "rollouts", 0);
        let services = workloads
            .iter()
            .map(|workload| Service {
                desired: match workload.kind {
                    Kind::Daemon => machines.len(),
                    _ if workload.runs_to_end() => 0,
                    _ => usize::from(workload.replicas),
                },
                next_rollout: next_rollout(start, &mut rollouts),
                generation: letters(&mut names, 9),
                per_node: vec![0; machines.len()],
                ..Service::default()
            })
            .collect();
        let nodes = machines
            .iter()
            .map(|machine| NodeState {
                cpu_free: machine.cpu_allocatable,
                memory_free: machine.memory_allocatable,
                pods: 0,
                ready: true,
            })
            .collect();
        Self {
            machines,
            workloads,
            start,
            pods: Vec::new(),
            services,
            nodes,
            on_node: vec![Vec::new(); machines.len()],
            pending: VecDeque::new(),
            ends: BinaryHeap::new(),
            names,
            lives: generator(seed, "lives", 0),
            rollouts,
            jobs: generator(seed, "jobs", 0),
            next_incident: 0,
            node_events: BinaryHeap::new(),
        }
    }

    /// The services were there before the history begins, each for some time.
    fn fill(&mut self) {
        for workload in 0..self.workloads.len() {
            for place in 0..self.services[workload].desired {
                let age = (between(&mut self.lives, 0.1, 9.0) * DAY_MS as f64) as i64 / 1_000 * 1_000;
                let pod = self.create(workload, self.start - age);
                let node =
                    if self.workloads[workload].kind == Kind::Daemon { Some(place) } else { self.best_node(workload) };
                match node {
                    Some(node) => self.bind(pod, node, self.start - age),
                    None => self.pending.push_back(pod),
                }
            }
        }
    }

    /// Begins and ends what happens to nodes as a whole.
    fn nodes_change(&mut self, now: i64, incidents: &[Incident]) {
        while let Some(incident) = incidents.get(self.next_incident).filter(|incident| incident.start <= now) {
            self.next_incident += 1;
            match incident.fault {
                Fault::NotReady => {
                    self.nodes[incident.node].ready = false;
                    self.node_events.push(Reverse((now + EVICTION_DELAY_MS, incident.node, false)));
                    self.node_events.push(Reverse((incident.end, incident.node, true)));
                }
                Fault::Reboot => {
                    self.nodes[incident.node].ready = false;
                    self.evict(incident.node, now);
                    self.node_events.push(Reverse((incident.end, incident.node, true)));
                }
                Fault::NoisyNeighbour => self.start_noisy(incident, now),
                Fault::MemoryLeak | Fault::DiskSaturation | Fault::NetworkLoss => {}
            }
        }
        while let Some(Reverse((at, node, ready))) = self.node_events.peek().copied() {
            if at > now {
                break;
            }
            self.node_events.pop();
            if ready {
                self.nodes[node].ready = true;
            } else {
                self.evict(node, now);
            }
        }
    }

    /// Ends all pods of a node but those of daemons, which wait for it.
    fn evict(&mut self, node: usize, now: i64) {
        for pod in self.on_node[node].clone() {
            if self.workloads[self.pods[pod].workload].kind != Kind::Daemon {
                self.finish(pod, now, "Failed");
            }
        }
    }

    fn start_noisy(&mut self, incident: &Incident, now: i64) {
        let Some(workload) = self.workloads.iter().position(|workload| workload.kind == Kind::Adhoc) else { return };
        let pod = self.create(workload, now);
        self.pods[pod].fixed_cpu =
            Some(f64::from(self.machines[incident.node].cores) * (0.35 + 0.5 * incident.strength));
        self.bind(pod, incident.node, now);
        self.ends.push(Reverse((incident.end, pod)));
    }

    fn pods_end(&mut self, now: i64) {
        while let Some(Reverse((at, pod))) = self.ends.peek().copied() {
            if at > now {
                break;
            }
            self.ends.pop();
            if self.pods[pod].finished.is_none() {
                self.finish(pod, at, "Succeeded");
            }
        }
    }

    fn jobs_start(&mut self, now: i64) {
        let minute_of_day = (now.rem_euclid(DAY_MS) / MINUTE_MS) as u32;
        for index in 0..self.workloads.len() {
            let workload = &self.workloads[index];
            let begins = match workload.kind {
                Kind::Cron => {
                    (minute_of_day + 1_440 - workload.at_minute % 1_440).is_multiple_of(workload.every_minutes)
                }
                // Arrivals by chance: `intensity` an hour at demand 1.
                Kind::Batch => self.jobs.random::<f64>() < workload.intensity / 60.0 * workload.demand(now, self.start),
                _ => false,
            };
            if begins {
                let created = now + self.lives.random_range(0..3_000);
                let pod = self.create(index, created);
                self.pending.push_back(pod);
            }
        }
    }

    /// Scales, rolls out and restores services.
    fn services_follow(&mut self, now: i64) {
        for index in 0..self.workloads.len() {
            let workload = &self.workloads[index];
            if workload.runs_to_end() {
                continue;
            }
            if workload.autoscaled && now % (15 * MINUTE_MS) == 0 {
                let wanted = (f64::from(workload.replicas) * workload.demand(now, self.start) * 1.15).ceil().max(2.0);
                let has = self.services[index].desired as f64;
                // The autoscaler's tolerance: small differences are not worth a change.
                if (wanted - has).abs() / has > 0.1 {
                    self.services[index].desired = wanted as usize;
                }
            }
            if workload.kind != Kind::Daemon && self.services[index].next_rollout <= now {
                self.services[index].to_replace = self.services[index].live.len();
                self.services[index].generation = letters(&mut self.names, 9);
                self.services[index].next_rollout = next_rollout(now, &mut self.rollouts);
            }
            self.reconcile(index, now);
        }
    }

    /// Creates what is missing, removes what is too much, replaces one pod of a rollout.
    fn reconcile(&mut self, index: usize, now: i64) {
        if self.workloads[index].kind == Kind::Daemon {
            return; // Its pods outlive even a reboot of their node.
        }
        let service = &mut self.services[index];
        if service.to_replace > 0 {
            service.to_replace -= 1;
            if let Some(oldest) = service.live.front().copied() {
                let at = now + self.lives_jitter();
                self.finish(oldest, at, "Succeeded");
            }
        }
        while self.services[index].live.len() > self.services[index].desired {
            let Some(youngest) = self.services[index].live.back().copied() else { break };
            self.finish(youngest, now, "Succeeded");
        }
        while self.services[index].live.len() < self.services[index].desired {
            let created = now + self.lives_jitter();
            let pod = self.create(index, created);
            self.pending.push_back(pod);
        }
    }

    fn lives_jitter(&mut self) -> i64 {
        self.lives.random_range(0..20) * 1_000
    }

    /// Binds waiting pods, the most important first.
    fn schedule(&mut self, now: i64) {
        let mut waiting: Vec<usize> = self.pending.drain(..).collect();
        waiting.sort_by_key(|pod| (Reverse(self.workloads[self.pods[*pod].workload].priority), *pod));
        for pod in waiting {
            if self.pods[pod].finished.is_some() {
                continue;
            }
            match self.best_node(self.pods[pod].workload) {
                Some(node) => self.bind(pod, node, now),
                None => self.pending.push_back(pod),
            }
        }
    }

    /// Least requested, and away from pods of the same workload: the default scheduler in its simplest form.
    fn best_node(&self, workload: usize) -> Option<usize> {
        let (wanted, service) = (&self.workloads[workload], &self.services[workload]);
        let score = |node: usize| {
            let (state, machine) = (&self.nodes[node], &self.machines[node]);
            let cpu = (state.cpu_free - wanted.cpu_request) / machine.cpu_allocatable;
            let memory = (state.memory_free - wanted.memory_request) / machine.memory_allocatable;
            let fits = state.ready && state.pods < MAX_PODS && cpu >= 0.0 && memory >= 0.0;
            fits.then(|| 0.5 * (cpu + memory) - 0.15 * f64::from(service.per_node[node]))
        };
        (0..self.nodes.len())
            .filter_map(|node| Some((node, score(node)?)))
            .max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)))
            .map(|(node, _)| node)
    }

    fn create(&mut self, workload: usize, created: i64) -> usize {
        let index = self.pods.len();
        let kind = &self.workloads[workload];
        let suffix = letters(&mut self.names, 5);
        let name = match kind.kind {
            Kind::Database => self.free_ordinal(workload),
            Kind::Daemon => format!("{}-{suffix}", kind.name),
            Kind::Cron => format!("{}-{}-{suffix}", kind.name, created / MINUTE_MS),
            Kind::Batch | Kind::Adhoc => format!("{}-{index}-{suffix}", kind.name),
            Kind::Web | Kind::Worker => format!("{}-{}-{suffix}", kind.name, self.services[workload].generation),
        };
        let share = (0.08 * normal(&mut self.lives)).exp();
        self.services[workload].live.push_back(index);
        self.pods.push(PodLife {
            uid: uid(&mut self.names),
            name,
            workload,
            node: None,
            created,
            scheduled: None,
            started: None,
            finished: None,
            phase: "Pending",
            share,
            fixed_cpu: None,
        });
        index
    }

    /// A StatefulSet's pod takes the lowest number that no living one has.
    fn free_ordinal(&self, workload: usize) -> String {
        let live = &self.services[workload].live;
        let name = |ordinal: usize| format!("{}-{ordinal}", self.workloads[workload].name);
        let free = (0..live.len()).map(name).find(|name| live.iter().all(|pod| self.pods[*pod].name != *name));
        free.unwrap_or_else(|| name(live.len()))
    }

    fn bind(&mut self, pod: usize, node: usize, now: i64) {
        let workload = self.pods[pod].workload;
        let wanted = &self.workloads[workload];
        let scheduled = now.max(self.pods[pod].created) + 1_000;
        // Pulling the image and starting: seconds, sometimes a minute.
        let started = scheduled
            + (2_000.0 + 8_000.0 * (0.8 * normal(&mut self.lives)).exp()).min(90_000.0) as i64 / 1_000 * 1_000;
        let life = &mut self.pods[pod];
        (life.node, life.scheduled, life.started, life.phase) = (Some(node), Some(scheduled), Some(started), "Running");
        self.nodes[node].cpu_free -= wanted.cpu_request;
        self.nodes[node].memory_free -= wanted.memory_request;
        self.nodes[node].pods += 1;
        self.services[workload].per_node[node] += 1;
        self.on_node[node].push(pod);
        if matches!(wanted.kind, Kind::Cron | Kind::Batch) {
            let minutes = wanted.run_minutes * (0.45 * normal(&mut self.lives)).exp();
            self.ends.push(Reverse((started + (minutes.clamp(1.0, 600.0) * MINUTE_MS as f64) as i64, pod)));
        }
    }

    fn finish(&mut self, pod: usize, now: i64, phase: &'static str) {
        let life = &mut self.pods[pod];
        let workload = life.workload;
        life.finished = Some(now.max(life.started.unwrap_or(life.created)));
        life.phase = phase;
        self.services[workload].live.retain(|other| *other != pod);
        if let Some(node) = life.node {
            let wanted = &self.workloads[workload];
            self.nodes[node].cpu_free += wanted.cpu_request;
            self.nodes[node].memory_free += wanted.memory_request;
            self.nodes[node].pods -= 1;
            self.services[workload].per_node[node] -= 1;
            self.on_node[node].retain(|other| *other != pod);
        }
    }
}

/// People ship on working days between 8 and 16 o'clock UTC, every workload about twice a week.
fn next_rollout(after: i64, random: &mut ChaCha8Rng) -> i64 {
    let wait = -(1.0 - random.random::<f64>()).ln() * 3.5 + 0.25;
    let mut at = after + (wait * DAY_MS as f64) as i64;
    let weekday = (at.div_euclid(DAY_MS) + 3).rem_euclid(7); // 0 is Monday
    if weekday >= 5 {
        at += (7 - weekday) * DAY_MS;
    }
    at.div_euclid(DAY_MS) * DAY_MS + (between(random, 8.0, 16.0) * HOUR_MS as f64) as i64
}

/// Kubernetes' alphabet for generated names: no vowels, nothing that looks like another letter.
fn letters(random: &mut ChaCha8Rng, count: usize) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    (0..count).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())])).collect()
}

fn uid(random: &mut ChaCha8Rng) -> String {
    let (high, low): (u64, u64) = (random.random(), random.random());
    // Version 4, variant 1, as the API server's own.
    let (third, fourth) = (high & 0x0fff | 0x4000, low >> 48 & 0x3fff | 0x8000);
    format!("{:08x}-{:04x}-{third:04x}-{fourth:04x}-{:012x}", high >> 32, high >> 16 & 0xffff, low & 0xffff_ffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_fit_their_nodes_and_lives_are_in_order() {
        let plan = plan(11, 6, 0, 3 * DAY_MS);
        assert!(plan.pods.len() > 100, "{} pods", plan.pods.len());
        let placed = plan.pods.iter().filter(|pod| pod.node.is_some()).count();
        assert!(placed * 100 >= plan.pods.len() * 95, "{placed} of {} pods found room", plan.pods.len());
        for pod in &plan.pods {
            let times = [Some(pod.created), pod.scheduled, pod.started, pod.finished];
            let known: Vec<i64> = times.into_iter().flatten().collect();
            assert!(known.is_sorted(), "{pod:?}");
        }
        for (node, machine) in plan.machines.iter().enumerate() {
            for hour in 0..72 {
                let at = hour * HOUR_MS;
                let living = plan.pods.iter().filter(|pod| {
                    pod.node == Some(node)
                        && pod.scheduled.is_some_and(|from| from <= at)
                        && pod.finished.is_none_or(|to| to > at)
                });
                let requested: f64 = living.map(|pod| plan.workloads[pod.workload].cpu_request).sum();
                // The culprit of an incident comes without asking the scheduler.
                assert!(requested <= machine.cpu_allocatable + 0.5, "node {node}, hour {hour}: {requested}");
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_pods() {
        assert_eq!(plan(1, 4, 0, DAY_MS).pods, plan(1, 4, 0, DAY_MS).pods);
        assert_ne!(plan(1, 4, 0, DAY_MS).pods, plan(2, 4, 0, DAY_MS).pods);
    }

    #[test]
    fn uids_are_unlike() {
        let plan = plan(1, 4, 0, 2 * DAY_MS);
        let uids: std::collections::HashSet<&str> = plan.pods.iter().map(|pod| pod.uid.as_str()).collect();
        assert_eq!(uids.len(), plan.pods.len());
        assert!(uids.iter().all(|uid| uid.len() == 36 && uid.as_bytes()[14] == b'4'));
    }
}
