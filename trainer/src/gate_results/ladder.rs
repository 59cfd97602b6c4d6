//! Challengers of known quality, made of the forecasts of real models.

use super::forecasts::{HeadForecasts, OTHER, POOR, REFERENCE};
use crate::evaluate::mean_absolute_error;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// By head, a forecast for each of its rows.
pub type Forecasts = Vec<Vec<f64>>;

/// How a forecast is made worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// It learned less: part of the way to persistence, and beyond where that is not far enough.
    LearnedLess,
    /// It believes in yesterday: part of the way to a forecast that errs otherwise and far more, so that hours differ most.
    Yesterday,
    /// It is noisy: each forecast is off by a draw of its own.
    Noise,
}

impl Flaw {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::LearnedLess, Self::Yesterday, Self::Noise];

    /// For tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LearnedLess => "learned less",
            Self::Yesterday => "believes in yesterday",
            Self::Noise => "noisy",
        }
    }

    /// What a head's forecasts are moved by, at full strength, ratios.
    fn direction(self, head: &HeadForecasts, seed: u64) -> anyhow::Result<Vec<f64>> {
        let reference = head.of(REFERENCE)?;
        let towards = |other: &[f64]| other.iter().zip(reference).map(|(other, own)| other - own).collect();
        Ok(match self {
            Self::LearnedLess => towards(head.of(POOR)?),
            Self::Yesterday => towards(head.of(OTHER)?),
            Self::Noise => {
                let mut generator = ChaCha8Rng::seed_from_u64(seed ^ u64::from(head.key.horizon.hours()));
                // A sum of three uniform draws: near enough to a bell for noise, and bounded.
                let mut draw = || (0..3).map(|_| generator.random::<f64>() - 0.5).sum::<f64>() * 0.2;
                reference.iter().map(|_| draw()).collect()
            }
        })
    }
}

/// The forecasts of a contender, by head.
///
/// # Errors
/// When the file has none of that name.
pub fn contender(heads: &[HeadForecasts], name: &str) -> anyhow::Result<Forecasts> {
    heads.iter().map(|head| Ok(head.of(name)?.to_vec())).collect()
}

/// The reference, made worse until the error of **each head** over all days has grown by `share`.
///
/// # Errors
/// When the file lacks a forecaster.
pub fn worse_by_share(heads: &[HeadForecasts], flaw: Flaw, share: f64, seed: u64) -> anyhow::Result<Forecasts> {
    heads
        .iter()
        .map(|head| {
            let (reference, direction) = (head.of(REFERENCE)?, flaw.direction(head, seed)?);
            let wanted = mean_absolute_error(&head.observed, reference) * (1.0 + share);
            let error = |strength: f64| mean_absolute_error(&head.observed, &moved(reference, &direction, strength));
            Ok(moved(reference, &direction, strength(wanted, error)))
        })
        .collect()
}

/// The reference, made worse until the error over **all heads together** has grown by `points`.
///
/// # Errors
/// When the file lacks a forecaster.
pub fn worse_by_points(heads: &[HeadForecasts], flaw: Flaw, points: f64, seed: u64) -> anyhow::Result<Forecasts> {
    let parts = heads.iter().map(|head| Ok((head, head.of(REFERENCE)?, flaw.direction(head, seed)?)));
    let parts = parts.collect::<anyhow::Result<Vec<_>>>()?;
    let rows: usize = heads.iter().map(|head| head.ts.len()).sum();
    let error = |strength: f64| {
        let sum: f64 = parts
            .iter()
            .map(|(head, reference, direction)| {
                let moved = moved(reference, direction, strength);
                mean_absolute_error(&head.observed, &moved) * head.ts.len() as f64
            })
            .sum();
        sum / rows as f64
    };
    let strength = strength(error(0.0) + points, error);
    Ok(parts.iter().map(|(_, reference, direction)| moved(reference, direction, strength)).collect())
}

fn moved(reference: &[f64], direction: &[f64], strength: f64) -> Vec<f64> {
    reference.iter().zip(direction).map(|(reference, direction)| reference + strength * direction).collect()
}

/// The strength at which an error that grows with it reaches `wanted`. An error may fall a little at first, so the search goes
/// down from where it is certainly too large.
fn strength(wanted: f64, error: impl Fn(f64) -> f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    while error(high) < wanted && high < 64.0 {
        (low, high) = (high, 2.0 * high);
    }
    for _ in 0..40 {
        let middle = f64::midpoint(low, high);
        if error(middle) < wanted { low = middle } else { high = middle }
    }
    high
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use cluster::GRID_STEP_MS;
    use models::load::HeadKey;

    /// Heads of a wave that the reference misses by a little, persistence and yesterday by more; two nodes.
    pub fn heads(days: i64) -> Vec<HeadForecasts> {
        let slots = days * 288;
        HeadKey::all()
            .map(|key| {
                let mut generator = ChaCha8Rng::seed_from_u64(u64::from(key.horizon.hours()) + key.resource as u64);
                let mut draw = || generator.random::<f64>() - 0.5;
                let mut head = HeadForecasts { key, ts: Vec::new(), observed: Vec::new(), contenders: Vec::new() };
                let mut columns = [const { Vec::new() }; 3];
                for slot in 0..slots {
                    for node in 0..2 {
                        let level = 0.5 + 0.2 * (slot as f64 / 288.0 * std::f64::consts::TAU + f64::from(node)).sin();
                        head.ts.push(slot * GRID_STEP_MS);
                        head.observed.push(level);
                        for (column, width) in columns.iter_mut().zip([0.1, 0.16, 0.4]) {
                            column.push(level + width * draw());
                        }
                    }
                }
                head.contenders = [REFERENCE, POOR, OTHER].map(str::to_owned).into_iter().zip(columns).collect();
                head
            })
            .collect()
    }

    #[test]
    fn a_challenger_is_as_much_worse_as_was_asked_for() {
        let heads = heads(2);
        for flaw in Flaw::ALL {
            let worse = worse_by_share(&heads, flaw, 0.05, 1).expect("worse");
            for (head, worse) in heads.iter().zip(&worse) {
                let reference = mean_absolute_error(&head.observed, head.of(REFERENCE).expect("a reference"));
                let growth = mean_absolute_error(&head.observed, worse) / reference - 1.0;
                assert!((growth - 0.05).abs() < 1e-6, "{} {}: {growth}", flaw.name(), head.key);
            }
            let worse = worse_by_points(&heads, flaw, 0.75, 1).expect("worse");
            let mean = |all: &[Vec<f64>]| {
                heads.iter().zip(all).map(|(head, own)| mean_absolute_error(&head.observed, own)).sum::<f64>() / 6.0
            };
            let grown = mean(&worse) - mean(&contender(&heads, REFERENCE).expect("a reference"));
            assert!((grown - 0.75).abs() < 1e-6, "{}: {grown}", flaw.name());
        }
        assert!(contender(&heads, "nobody").is_err());
    }
}
