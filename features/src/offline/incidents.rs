//! Incidents of a raw dataset, by node.

use crate::columns;
use crate::windows::Incident;
use anyhow::Context;
use chrono::NaiveDate;
use cluster::INCIDENTS;
use std::collections::HashMap;
use store::Store;

/// The incidents that began on or after `from`.
pub(crate) fn read(raw: &Store, from: NaiveDate) -> anyhow::Result<HashMap<String, Vec<Incident>>> {
    let mut incidents: HashMap<String, Vec<Incident>> = HashMap::new();
    for date in raw.days(&INCIDENTS)?.into_iter().filter(|date| *date >= from) {
        let frame = raw.read_day(&INCIDENTS, date, &["node", "kind", "started_at", "ended_at"])?;
        let mut read = || -> anyhow::Result<()> {
            let (nodes, kinds) = (frame.column("node")?.str()?, frame.column("kind")?.str()?);
            let starts = columns::timestamps(frame.column("started_at")?)?;
            let ends = frame.column("ended_at")?.to_physical_repr();
            for (row, ended_at) in ends.i64()?.iter().enumerate() {
                let (Some(node), Some(kind)) = (nodes.get(row), kinds.get(row)) else { continue };
                let incident = Incident { started_at: starts[row], kind: kind.to_owned(), ended_at };
                incidents.entry(node.to_owned()).or_default().push(incident);
            }
            Ok(())
        };
        read().with_context(|| format!("incidents of {date}"))?;
    }
    Ok(incidents)
}
