//! Ports for servers that need their port before they start.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};

/// Below the kernel's ephemeral range (32768 and up). So no outgoing connection can take the port
/// of a server that is being restarted.
const RANGE: std::ops::Range<u16> = 10_240..32_768;

/// A TCP port of 127.0.0.1 that is free at the moment, different on each call with high
/// probability.
pub fn free_port() -> u16 {
    (0..1_000)
        .map(|_| random_port())
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("one of a thousand ports is free")
}

fn random_port() -> u16 {
    let random = RandomState::new().build_hasher().finish();
    let width = u64::from(RANGE.end - RANGE.start);
    RANGE.start + u16::try_from(random % width).expect("a remainder is below the width")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_port_can_be_bound_and_differs_from_the_last() {
        let ports: std::collections::HashSet<u16> = (0..20).map(|_| free_port()).collect();
        assert!(ports.len() > 15, "{ports:?}");
        assert!(ports.iter().all(|port| RANGE.contains(port)));
    }
}
