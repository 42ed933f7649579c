//! Sliding windows in this process, for a bounded number of keys.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{RateLimit, RateLimitUsage, micros, short};

/// The number of entries that a new key examines, to remove expired ones or to find the one it
/// replaces.
const SWEEP: usize = 16;

pub(super) struct Memory {
    limit: RateLimit,
    max_keys: usize,
    origin: Instant,
    table: Mutex<Table>,
}

/// Entries are in a vector, so that a cursor can walk over them. The map finds a key's entry.
#[derive(Default)]
struct Table {
    index: HashMap<Arc<str>, usize>,
    entries: Vec<Entry>,
    cursor: usize,
}

struct Entry {
    key: Arc<str>,
    /// The times of the admitted requests, ascending, in microseconds.
    admitted: VecDeque<u64>,
}

#[expect(clippy::disallowed_methods, reason = "the store's own clock; `check_at` replaces it")]
fn clock() -> Instant {
    Instant::now()
}

impl Memory {
    pub(super) fn new(limit: RateLimit, max_keys: usize) -> Self {
        Self { limit, max_keys, origin: clock(), table: Mutex::default() }
    }

    /// Admits or refuses one request at `now`, in microseconds. Default: the time since this store
    /// was made.
    pub(super) fn request(&self, budgets: &[(&str, u32)], now: Option<u64>) -> RateLimitUsage {
        let mut table = self.table();
        // Read under the lock, so that the times of one key ascend.
        let now = now.unwrap_or_else(|| micros(clock().saturating_duration_since(self.origin)));
        let window = self.limit.window_micros();
        // The key that the decision describes: the one that refuses for longest, else the first.
        let mut described: Option<(RateLimitUsage, bool)> = None;
        for (key, times) in budgets {
            let usage = table.usage(&short(key), window, now);
            let is_full = usage.used >= self.limit.limit.saturating_mul(*times);
            let counts = described.is_none_or(|(other, was_full)| {
                is_full && !(was_full && other.oldest_age <= usage.oldest_age)
            });
            if counts {
                described = Some((usage, is_full));
            }
        }
        let (usage, is_refused) = described.unwrap_or_default();
        if is_refused {
            return usage;
        }
        for (key, _) in budgets {
            table.admit(&short(key), now.saturating_sub(window), now, self.max_keys);
        }
        RateLimitUsage { allowed: true, used: usage.used + 1, ..usage }
    }

    pub(super) fn forget(&self, key: &str) {
        let mut table = self.table();
        if let Some(at) = table.index.get(&*short(key)).copied() {
            table.remove(at);
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // A panic under the lock leaves the table consistent.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// The present usage of a key.
    fn usage(&mut self, key: &str, window: u64, now: u64) -> RateLimitUsage {
        let entry = self.index.get(key).map(|at| &mut self.entries[*at]);
        entry.map_or_else(RateLimitUsage::default, |entry| entry.usage(window, now))
    }

    /// Counts a request that was admitted.
    fn admit(&mut self, key: &str, oldest_counted: u64, now: u64, max_keys: usize) {
        let at = match self.index.get(key) {
            Some(at) => *at,
            None => self.insert(key, oldest_counted, max_keys),
        };
        self.entries[at].admitted.push_back(now);
    }

    /// Makes room by the rules of [`super::RateLimiter::in_memory`] and adds an empty entry;
    /// returns its place.
    fn insert(&mut self, key: &str, oldest_counted: u64, max_keys: usize) -> usize {
        self.clear_expired(oldest_counted);
        if self.entries.len() >= max_keys {
            self.evict_least_used(oldest_counted);
        }
        let key: Arc<str> = key.into();
        let at = self.entries.len();
        self.index.insert(Arc::clone(&key), at);
        self.entries.push(Entry { key, admitted: VecDeque::new() });
        at
    }

    fn clear_expired(&mut self, oldest_counted: u64) {
        for _ in 0..SWEEP.min(self.entries.len()) {
            if self.cursor >= self.entries.len() {
                self.cursor = 0;
            }
            match self.entries.get(self.cursor) {
                Some(entry) if entry.used(oldest_counted) == 0 => self.remove(self.cursor),
                _ => self.cursor += 1,
            }
        }
    }

    fn evict_least_used(&mut self, oldest_counted: u64) {
        let len = self.entries.len();
        let next_in_turn = (self.cursor..self.cursor + SWEEP).map(|at| at % len);
        let poorest = next_in_turn.min_by_key(|at| {
            let entry = &self.entries[*at];
            (entry.used(oldest_counted), entry.admitted.back().copied())
        });
        if let Some(at) = poorest {
            self.remove(at);
        }
    }

    /// Removes an entry. The last one moves to its place.
    fn remove(&mut self, at: usize) {
        let removed = self.entries.swap_remove(at);
        self.index.remove(&removed.key);
        if let Some(moved) = self.entries.get(at) {
            self.index.insert(Arc::clone(&moved.key), at);
        }
    }
}

impl Entry {
    fn used(&self, oldest_counted: u64) -> usize {
        self.admitted.len() - self.admitted.partition_point(|at| *at < oldest_counted)
    }

    fn usage(&mut self, window: u64, now: u64) -> RateLimitUsage {
        let oldest_counted = now.saturating_sub(window);
        while self.admitted.front().is_some_and(|at| *at < oldest_counted) {
            self.admitted.pop_front();
        }
        // The clock was set back: times in the future become the present.
        for at in self.admitted.iter_mut().rev().take_while(|at| **at > now) {
            *at = now;
        }
        RateLimitUsage {
            allowed: false,
            used: u32::try_from(self.admitted.len()).unwrap_or(u32::MAX),
            oldest_age: Duration::from_micros(now - self.admitted.front().copied().unwrap_or(now)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: RateLimit = RateLimit::new("test", 3, Duration::from_secs(1));
    const WINDOW: u64 = 1_000_000;

    fn keys(memory: &Memory) -> usize {
        let table = memory.table();
        assert_eq!(table.index.len(), table.entries.len());
        for (key, at) in &table.index {
            assert_eq!(*key, table.entries[*at].key);
        }
        table.entries.len()
    }

    #[test]
    fn expired_keys_are_cleared_away_in_passing() {
        let memory = Memory::new(LIMIT, 10_000);
        for n in 0..1_000 {
            memory.request(&[(&format!("old{n}"), 1)], Some(0));
        }
        assert_eq!(keys(&memory), 1_000);
        for n in 0..100 {
            memory.request(&[(&format!("new{n}"), 1)], Some(WINDOW + 1));
        }
        assert_eq!(keys(&memory), 100);
    }

    #[test]
    fn the_number_of_keys_stays_bounded_and_nobody_is_locked_out() {
        let memory = Memory::new(LIMIT, 100);
        for n in 0..10_000 {
            assert!(memory.request(&[(&format!("flood{n}"), 1)], Some(n)).allowed);
        }
        assert_eq!(keys(&memory), 100);
    }

    #[test]
    fn a_flood_of_keys_does_not_reset_one_at_its_limit() {
        let memory = Memory::new(LIMIT, 100);
        for n in 0..50 {
            memory.request(&[(&format!("before{n}"), 1)], Some(n));
        }
        for _ in 0..3 {
            assert!(memory.request(&[("victim", 1)], Some(50)).allowed);
        }
        for n in 0..10_000 {
            memory.request(&[(&format!("flood{n}"), 1)], Some(51));
            assert!(!memory.request(&[("victim", 1)], Some(51)).allowed, "after {n} other keys");
        }
        assert_eq!(keys(&memory), 100);
    }

    #[test]
    fn a_request_under_several_keys_works_in_a_table_that_is_too_small_for_them() {
        let memory = Memory::new(LIMIT, 1);
        for _ in 0..10 {
            memory.request(&[("a", 1), ("b", 10), ("c", 50)], Some(0));
            assert_eq!(keys(&memory), 1);
        }
    }

    #[test]
    fn a_table_for_one_key_works() {
        let memory = Memory::new(LIMIT, 1);
        for (key, used) in [("a", 1), ("a", 2), ("b", 1), ("a", 1)] {
            assert_eq!(memory.request(&[(key, 1)], Some(0)).used, used);
            assert_eq!(keys(&memory), 1);
        }
    }
}
