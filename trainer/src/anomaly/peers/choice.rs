//! Which peer is best.

use super::{CompareSettings, PeerKind, PeerResult, Primary};
use serde::Serialize;

/// The best peer, and who did not qualify.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Choice {
    /// The best of those that qualify; absent where none does.
    pub best: Option<PeerKind>,
    /// Who does not qualify, and why.
    pub refused: Vec<(PeerKind, String)>,
}

/// Picks the best by the primary figure among those with the least accuracy, precision and recall that are wanted.
pub fn choose(peers: &[PeerResult], settings: &CompareSettings) -> Choice {
    let mut refused = Vec::new();
    let mut qualified: Vec<(&PeerResult, f64)> = Vec::new();
    for peer in peers {
        let limits = [
            ("accuracy", peer.accuracy, settings.min_accuracy),
            ("alarm precision", peer.scores.precision, settings.min_precision),
            ("incident recall", peer.scores.recall, settings.min_recall),
        ];
        let misses: Vec<String> = limits
            .into_iter()
            .filter(|(_, value, least)| value.is_none_or(|value| value < *least))
            .map(|(name, value, least)| match value {
                Some(value) => format!("{name} {value:.4} is below {least}"),
                None => format!("{name} is not defined on the test, {least} is wanted"),
            })
            .collect();
        if misses.is_empty() {
            qualified.push((peer, primary(peer, settings.primary)));
        } else {
            refused.push((peer.kind, misses.join(", ")));
        }
    }
    // Of equals the first: the order in which they were asked for.
    let best = qualified.into_iter().rev().max_by(|left, right| left.1.total_cmp(&right.1)).map(|(peer, _)| peer.kind);
    Choice { best, refused }
}

/// The primary figure, turned so that more is better; one that is not defined is the worst.
fn primary(peer: &PeerResult, primary: Primary) -> f64 {
    let points = &peer.scores.points;
    let value = match primary {
        Primary::Cost => Some(-peer.cost),
        Primary::PrAuc => points.pr_auc,
        Primary::RocAuc => points.roc_auc,
        Primary::Recall => peer.scores.recall,
        Primary::Precision => peer.scores.precision,
    };
    value.unwrap_or(f64::NEG_INFINITY)
}
