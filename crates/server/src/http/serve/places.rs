//! Counts the connections of each client.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracera_guard::ClientAddr;

/// Counts by the same key as the rate limits: an IPv4 address or an IPv6 /64.
#[derive(Clone)]
pub(super) struct PerClient {
    counts: Arc<Mutex<HashMap<String, usize>>>,
    most: usize,
}

/// The slot of one connection, released when dropped.
pub(super) struct Ticket {
    clients: PerClient,
    key: String,
}

impl PerClient {
    pub(super) fn new(most: usize) -> Self {
        Self { counts: Arc::default(), most }
    }

    /// Takes a slot, unless the client already has the maximum.
    pub(super) fn enter(&self, client: IpAddr) -> Option<Ticket> {
        let key = ClientAddr::from(client).rate_key();
        let mut counts = self.lock();
        let count = counts.entry(key.clone()).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Ticket { clients: self.clone(), key })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut counts = self.clients.lock();
        if let Some(count) = counts.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_so_many_and_what_is_given_back_is_forgotten() {
        let clients = PerClient::new(2);
        let enter = |addr: &str| clients.enter(addr.parse().unwrap());
        let first = enter("2001:db8::1").unwrap();
        let second = enter("2001:db8::2").unwrap();
        assert!(enter("2001:db8::3").is_none(), "the same /64");
        assert!(enter("2001:db8:0:1::1").is_some() && enter("192.0.2.1").is_some());
        drop(first);
        assert!(enter("2001:db8::3").is_some());
        drop(second);
        assert!(clients.lock().is_empty());
    }
}
