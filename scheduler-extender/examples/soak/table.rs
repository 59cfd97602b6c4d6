//! What came of it, as people and programs read it.

use serde::Serialize;
use std::fmt::Write;

/// One and a half times what a program takes when it is idle.
const MOST: f64 = 1.5;

/// One kind of attack.
#[derive(Debug, Serialize)]
pub struct Row {
    pub attack: &'static str,
    pub rounds: u64,
    /// Requests, connections or bytes that were refused or broken off, as they should be.
    pub refused: u64,
    /// The most memory while it went on.
    pub peak_kib: u64,
    /// Times that somebody else was not answered afterwards, and what happened.
    pub unanswered: Vec<String>,
}

/// One program.
#[derive(Debug, Serialize)]
pub struct Report {
    pub program: &'static str,
    pub seconds: u64,
    pub idle_kib: u64,
    pub settled_kib: u64,
    pub rows: Vec<Row>,
}

fn mebibytes(kib: u64) -> String {
    format!("{:.1}", kib as f64 / 1_024.0)
}

impl Report {
    fn ratio(&self, kib: u64) -> f64 {
        kib as f64 / self.idle_kib as f64
    }

    pub fn text(&self) -> String {
        let mut text = format!(
            "{}: {} s under attack, idle {} MiB, at most {MOST} times as much is allowed\n",
            self.program,
            self.seconds,
            mebibytes(self.idle_kib)
        );
        let _ = writeln!(
            text,
            "  {:<52} {:>7} {:>9} {:>9} {:>7} {:>10}",
            "attack", "rounds", "refused", "peak MiB", "x idle", "unanswered"
        );
        for row in &self.rows {
            let _ = writeln!(
                text,
                "  {:<52} {:>7} {:>9} {:>9} {:>7.2} {:>10}",
                row.attack,
                row.rounds,
                row.refused,
                mebibytes(row.peak_kib),
                self.ratio(row.peak_kib),
                row.unanswered.len()
            );
        }
        let _ = writeln!(
            text,
            "  afterwards {} MiB, {:.2} x idle",
            mebibytes(self.settled_kib),
            self.ratio(self.settled_kib)
        );
        text
    }

    /// What did not hold.
    pub fn broken(&self) -> Vec<String> {
        let mut broken = Vec::new();
        for row in &self.rows {
            if self.ratio(row.peak_kib) > MOST {
                broken.push(format!("{}: {} MiB by {}", self.program, mebibytes(row.peak_kib), row.attack));
            }
            broken.extend(row.unanswered.first().map(|said| format!("{}: after {}: {said}", self.program, row.attack)));
            if row.rounds == 0 {
                broken.push(format!("{}: there was no time for {}", self.program, row.attack));
            }
        }
        if self.ratio(self.settled_kib) > MOST {
            broken.push(format!("{}: {} MiB afterwards", self.program, mebibytes(self.settled_kib)));
        }
        broken
    }
}
