//! Attacks in turn, until the time is over; after each one somebody else asks.

use crate::client::Client;
use crate::process::Program;
use crate::table::Row;
use futures::future::BoxFuture;
use std::time::{Duration, Instant};

/// A round that takes longer is broken off: whoever attacks waits for nobody.
const ROUND: Duration = Duration::from_secs(15);
/// Somebody else is answered within this time.
const PATIENCE: Duration = Duration::from_secs(10);

/// One kind of attack; a round of it tells how much was refused or broken off.
pub struct Attack {
    pub name: &'static str,
    pub round: for<'a> fn(&'a Client) -> BoxFuture<'a, anyhow::Result<u64>>,
}

/// Tells whether the program still does what it is for.
pub type Probe = for<'a> fn(&'a Client) -> BoxFuture<'a, anyhow::Result<()>>;

/// Attacks for `time`.
///
/// # Errors
/// When the program has ended.
pub async fn attack(
    program: &mut Program,
    client: &Client,
    attacks: &[Attack],
    probe: Probe,
    time: Duration,
) -> anyhow::Result<Vec<Row>> {
    let row = |attack: &Attack| Row { attack: attack.name, rounds: 0, refused: 0, peak_kib: 0, unanswered: Vec::new() };
    let mut rows: Vec<Row> = attacks.iter().map(row).collect();
    let began = Instant::now();
    for (attack, row) in attacks.iter().zip(0..rows.len()).cycle() {
        // Each has its turn once, whatever the time.
        let is_over = began.elapsed() >= time;
        if is_over && rows.iter().all(|row| row.rounds > 0) {
            break;
        }
        let row = &mut rows[row];
        if is_over && row.rounds > 0 {
            continue;
        }
        program.take_peak();
        // What became of an attack is the attacker's trouble.
        row.refused += tokio::time::timeout(ROUND, (attack.round)(client)).await.unwrap_or(Ok(0)).unwrap_or_default();
        row.rounds += 1;
        match tokio::time::timeout(PATIENCE, probe(client)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => row.unanswered.push(format!("{error:#}")),
            Err(_) => row.unanswered.push(format!("no answer within {PATIENCE:?}")),
        }
        row.peak_kib = row.peak_kib.max(program.take_peak());
        program.alive()?;
    }
    Ok(rows)
}
