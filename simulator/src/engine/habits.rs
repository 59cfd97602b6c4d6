//! What has been seen of the pods of each workload: the usage that cAdvisor reports of every container, once it has
//! arrived, and how long pods have lived.

use features::habit::Habit;

/// Mean usage of a workload's pods at one scrape: workload, millicores, bytes.
pub(super) type WorkloadSample = (u32, f32, f32);

/// All workloads. Nothing is gathered until somebody wants it: most policies do not.
#[derive(Debug, Clone, Default)]
pub(super) struct Habits {
    pub list: Vec<Habit>,
    /// Millicores that a pod of each workload requests.
    requested: Vec<f64>,
    /// Usage and requests of all samples, in millicores: what a request is worth.
    seen: (f64, f64),
    /// Sums of the scrape that is being taken, by workload: millicores, bytes, pods.
    sums: Vec<(f64, f64, u32)>,
    touched: Vec<u32>,
}

impl Habits {
    /// Gathers from now on. `requested` are the millicores that a pod of each workload requests.
    pub fn watch(&mut self, requested: Vec<f64>) {
        self.list = vec![Habit::default(); requested.len()];
        self.sums = vec![(0.0, 0.0, 0); requested.len()];
        self.requested = requested;
    }

    pub fn is_watched(&self) -> bool {
        !self.list.is_empty()
    }

    /// One pod of the scrape that is being taken.
    pub fn sample(&mut self, workload: u32, cpu: f64, memory: f64) {
        let sum = &mut self.sums[workload as usize];
        if sum.2 == 0 {
            self.touched.push(workload);
        }
        *sum = (sum.0 + cpu, sum.1 + memory, sum.2 + 1);
    }

    /// The end of the scrape: means by workload.
    pub fn means(&mut self, samples: &mut Vec<WorkloadSample>) {
        for workload in self.touched.drain(..) {
            let (cpu, memory, pods) = std::mem::take(&mut self.sums[workload as usize]);
            let pods = f64::from(pods);
            samples.push((workload, (cpu / pods) as f32, (memory / pods) as f32));
        }
    }

    /// A scrape has arrived.
    pub fn arrive(&mut self, at_ms: i64, samples: &[WorkloadSample]) {
        for (workload, cpu, memory) in samples {
            self.list[*workload as usize].take_in(at_ms, *cpu, *memory);
            let requested = self.requested[*workload as usize];
            if requested > 0.0 {
                self.seen = (self.seen.0 + f64::from(*cpu), self.seen.1 + requested);
            }
        }
    }

    /// A pod has ended by itself after `life_ms`. The API server tells at once.
    pub fn ended(&mut self, workload: u32, life_ms: i64) {
        if let Some(habit) = self.list.get_mut(workload as usize) {
            habit.ended(life_ms);
        }
    }

    /// Mean CPU usage as a share of requests, over all samples that have arrived.
    pub fn usage_of_requests(&self) -> Option<f64> {
        (self.seen.1 > 0.0).then(|| self.seen.0 / self.seen.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrape_gives_the_mean_pod_of_each_workload() {
        let mut habits = Habits::default();
        habits.watch(vec![500.0; 3]);
        habits.sample(2, 100.0, 10.0);
        habits.sample(0, 50.0, 1.0);
        habits.sample(2, 300.0, 30.0);
        let mut samples = Vec::new();
        habits.means(&mut samples);
        assert_eq!(samples, [(2, 200.0, 20.0), (0, 50.0, 1.0)]);
        habits.arrive(0, &samples);
        assert_eq!(habits.usage_of_requests(), Some(0.25));
        assert!(habits.list[2].is_known() && !habits.list[1].is_known());
    }
}
