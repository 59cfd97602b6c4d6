//! A disk that is full: a file system of a few hundred KiB of our own, in a mount namespace of its own.

use std::path::Path;
use std::process::Command;

const COLLECTOR: &str = env!("CARGO_BIN_EXE_collector");

/// Prints what the steps said and left. `$1` is the mount point, `$2` the program.
const STEPS: &str = r#"
mount -t tmpfs -o size=600k tmpfs "$1" || exit 77
"$2" --data "$1" synthesize --nodes 3 --days 2 --seed 1 --end 2026-11-10 2>&1
echo "full: exit $?"
find "$1" -type f -printf 'left %P\n'
mount -o remount,size=64m "$1"
"$2" --data "$1" synthesize --nodes 3 --days 2 --seed 1 --end 2026-11-10 >/dev/null 2>&1
echo "room: exit $?"
"$2" --data "$1" collect >/dev/null 2>&1
"$2" --data "$1" datasets verify latest
echo "verified: exit $?"
"#;

#[test]
fn a_full_disk_is_named_and_nothing_half_written_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = |place: &Path| {
        Command::new("unshare").args(["-rm", "sh", "-c", STEPS, "sh"]).arg(place).arg(COLLECTOR).output()
    };
    let said = match run(folder.path()) {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).into_owned(),
        other => {
            println!("SKIPPED: no mount namespace of our own can be had here ({other:?})");
            return;
        }
    };
    assert!(said.contains("full: exit 1"), "{said}");
    assert!(
        said.contains("No space left on device") && said.contains("raw/node_metrics/date="),
        "what and where: {said}"
    );
    let left: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("left ")).collect();
    assert!(
        !left.is_empty() && left.iter().all(|name| name.ends_with(".parquet") || name.ends_with(".json")),
        "{left:?}"
    );
    assert!(said.contains("room: exit 0"), "a second run goes on where there is room: {said}");
    assert!(said.contains("is whole: ") && said.contains("verified: exit 0"), "{said}");
}
