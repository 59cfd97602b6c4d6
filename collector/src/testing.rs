//! Real Prometheus servers for tests, of this crate and of others: history loaded with promtool, a free port, a folder of
//! the test's own, stopped when dropped.
//!
//! ```no_run
//! use collector::testing::{PrometheusServer, program};
//! # fn main() -> anyhow::Result<()> {
//! # let folder = std::path::Path::new("history");
//! let Some(_) = program("prometheus")? else { return Ok(()) }; // BERTH_SKIP_SERVERS=1
//! collector::testing::load_openmetrics(&folder.join("metrics.om"), folder)?;
//! let server = PrometheusServer::start(folder, &[])?;
//! println!("{}", server.url());
//! # Ok(())
//! # }
//! ```

pub use crate::tsdb::PrometheusServer;
pub use runtime::testing::free_port;
use std::path::{Path, PathBuf};

/// Where a server's program is; `None`, said loudly, when `BERTH_SKIP_SERVERS=1` allows tests to go without it.
///
/// # Errors
/// When it is not installed; the message tells how to install it.
pub fn program(name: &str) -> anyhow::Result<Option<PathBuf>> {
    let found = crate::tsdb::find_program(name);
    if found.is_some() {
        return Ok(found);
    }
    if std::env::var("BERTH_SKIP_SERVERS").is_ok_and(|value| value == "1") {
        eprintln!("SKIPPED: `{name}` is not installed and BERTH_SKIP_SERVERS=1 is set; this test proves nothing");
        return Ok(None);
    }
    anyhow::bail!(
        "`{name}` is not installed. `make test-setup` installs it (Debian package `prometheus`); BERTH_SKIP_SERVERS=1 skips such tests"
    )
}

/// Loads OpenMetrics text into the history of a server that is not running: its blocks, of two hours, go to
/// `<folder>/data`. A file should hold a day at most.
///
/// # Errors
/// When promtool refuses the text.
pub fn load_openmetrics(text: &Path, folder: &Path) -> anyhow::Result<()> {
    crate::tsdb::load_openmetrics(text, folder, "2h")
}
