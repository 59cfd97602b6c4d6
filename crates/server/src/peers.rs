//! Who is connected: each client gets a part of the connections and of the memory for answers, so that one of them cannot take all.

use crate::budget::Budget;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// The clients that are connected now.
#[derive(Debug)]
pub(crate) struct Peers {
    /// Connections that one may have.
    most: usize,
    /// Bytes of answers that one may leave unread.
    answers: usize,
    known: Mutex<HashMap<IpAddr, Peer>>,
}

#[derive(Debug)]
struct Peer {
    connections: usize,
    answers: Budget,
}

impl Peers {
    pub fn new(most: usize, answers: usize) -> Arc<Self> {
        Arc::new(Self { most, answers, known: Mutex::default() })
    }

    /// Lets one more connection in; `None` where the client has all that it may have.
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Visit> {
        let address = client(address);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let peer = known.entry(address).or_insert_with(|| Peer { connections: 0, answers: Budget::new(self.answers) });
        if peer.connections >= self.most {
            return None;
        }
        peer.connections += 1;
        Some(Visit { answers: peer.answers.clone(), address, peers: Arc::clone(self) })
    }
}

/// A connection of a client, until it is dropped.
#[derive(Debug)]
pub(crate) struct Visit {
    /// What all connections of the client share.
    pub answers: Budget,
    address: IpAddr,
    peers: Arc<Peers>,
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut known = self.peers.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(peer) = known.get_mut(&self.address) {
            peer.connections -= 1;
            if peer.connections == 0 {
                known.remove(&self.address);
            }
        }
    }
}

/// What stands for a client. Of IPv6 a single host is given 2^64 addresses.
fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_its_own_number_of_connections_whatever_address_it_takes() {
        let peers = Peers::new(2, 100);
        let at = |address: &str| peers.enter(address.parse().expect("an address"));
        let (one, _two) =
            (at("10.0.0.1").expect("let in"), at("::ffff:10.0.0.1").expect("the same, as IPv6 writes it"));
        assert!(at("10.0.0.1").is_none());
        assert!(at("10.0.0.2").is_some(), "another one");
        drop(one);
        assert!(at("10.0.0.1").is_some(), "one of it has gone");
        let _v6 = (at("2001:db8::1").expect("let in"), at("2001:db8::ffff").expect("the same host"));
        assert!(at("2001:db8:0:0:1::").is_none());
        assert!(at("2001:db8:0:1::").is_some(), "another network");
    }
}
