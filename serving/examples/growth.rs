//! Draws how a server's memory grows with the nodes that it knows. `scripts/bench/serving.sh` measures and calls it.
//!
//! Usage: `growth CHART.svg NODES=MIB…`

use anyhow::{Context, ensure};
use report::chart::{self, Axis, Line, Lines};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let usage = "usage: growth CHART.svg NODES=MIB...";
    let [file, pairs @ ..] = arguments.as_slice() else { anyhow::bail!(usage) };
    ensure!(!pairs.is_empty(), usage);
    let point = |pair: &String| -> anyhow::Result<(f64, f64)> {
        let (nodes, mebibytes) = pair.split_once('=').with_context(|| format!("`{pair}` is not NODES=MIB"))?;
        Ok((nodes.parse().context(usage)?, mebibytes.parse().context(usage)?))
    };
    let points = pairs.iter().map(point).collect::<anyhow::Result<Vec<_>>>()?;
    let lines = vec![Line { name: "resident".to_owned(), points, ..Line::default() }];
    let drawn =
        chart::lines(&Lines { y_label: "MiB", x_label: "nodes", axis: Axis::Number, lines, ..Lines::default() });
    std::fs::write(file, drawn.svg()).with_context(|| format!("failed to write `{file}`"))?;
    Ok(())
}
