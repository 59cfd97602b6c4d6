//! For the tests of every crate.

use std::io;
use std::net::TcpListener;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

/// Below those that the kernel lends to outgoing connections (from 32768 on Linux, `ip_local_port_range`): a server that takes
/// seconds to listen would find a lent port taken by some other test's client.
const PORTS: Range<u16> = 20_000..32_000;

/// A port of 127.0.0.1 that was free a moment ago and that no other caller in this process is given.
///
/// # Errors
/// When there is none.
pub fn free_port() -> io::Result<u16> {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    // Processes at the same time begin at different places: a prime times the id, so neighbours are far apart.
    let first = std::process::id().wrapping_mul(397);
    let ports = u32::from(PORTS.end - PORTS.start);
    for _ in PORTS {
        let place = first.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed)) % ports;
        let port = PORTS.start + u16::try_from(place).map_err(io::Error::other)?;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err(io::Error::other(format!("no port of 127.0.0.1 from {} to {} is free", PORTS.start, PORTS.end - 1)))
}
