//! The id of the request that is being answered, for every line logged meanwhile.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

tokio::task_local! {
    static CURRENT: RequestId;
}

/// 16 hexadecimal digits. No two requests of a process have the same, and hardly two of several processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestId([u8; 16]);

impl RequestId {
    /// The next one. It is for finding lines that belong together, no secret, so it asks the system for randomness once
    /// and counts from there.
    pub fn next() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        static START: OnceLock<u64> = OnceLock::new();
        let start = START.get_or_init(|| uuid::Uuid::new_v4().as_u64_pair().0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let mixed = mix(start.wrapping_add(count.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        let digit = |place: usize| b"0123456789abcdef"[(mixed >> (60 - 4 * place) & 15) as usize];
        Self(std::array::from_fn(digit))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("digits are UTF-8")
    }

    /// Has the lines that `answering` logs carry the id.
    pub async fn scope<T>(self, answering: impl Future<Output = T>) -> T {
        CURRENT.scope(self, answering).await
    }

    /// The same for a function.
    pub fn sync_scope<T>(self, log: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(self, log)
    }

    /// The one of the request being answered here.
    pub(super) fn current() -> Option<Self> {
        CURRENT.try_get().ok()
    }

    /// Like [`tokio::spawn`], for a task that belongs to the request being answered: what it logs carries the id as well.
    pub fn spawn<T: Send + 'static>(
        task: impl Future<Output = T> + Send + 'static,
    ) -> tokio::task::JoinHandle<T> {
        match Self::current() {
            Some(id) => tokio::spawn(CURRENT.scope(id, task)),
            None => tokio::spawn(task),
        }
    }
}

/// The finalizer of `SplitMix64`: different numbers stay different, and neighbours look nothing alike.
fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_are_different_and_hexadecimal() {
        let ids: Vec<_> = (0..10_000).map(|_| RequestId::next()).collect();
        assert!(ids.iter().all(|id| id.as_str().chars().all(|c| c.is_ascii_hexdigit())));
        assert_eq!(ids.iter().map(RequestId::as_str).collect::<HashSet<_>>().len(), ids.len());
    }
}
