//! The id of the current request, added to every line logged while it is handled.

use std::cell::Cell;
use std::pin::Pin;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

thread_local! {
    static CURRENT: Cell<Option<RequestId>> = const { Cell::new(None) };
}

pin_project! {
    /// A future whose log lines have the id of its request.
    pub struct InRequest<F> {
        id: RequestId,
        #[pin]
        future: F,
    }
}

impl<F> InRequest<F> {
    /// Wraps a future of this request.
    pub fn new(id: RequestId, future: F) -> Self {
        Self { id, future }
    }
}

impl<F: Future> Future for InRequest<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _entered = this.id.enter();
        this.future.poll(context)
    }
}

/// A guard: until it is dropped, lines logged by this thread have the id.
#[must_use]
pub struct Entered {
    before: Option<RequestId>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.before);
    }
}

/// 16 hexadecimal digits, unique within a process and almost certainly across processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestId([u8; 16]);

impl RequestId {
    /// The next id. Ids correlate log lines and are not secret. So randomness is read once, and a
    /// counter follows.
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

    /// Adds the id to lines logged from now on.
    pub fn enter(self) -> Entered {
        Entered { before: CURRENT.replace(Some(self)) }
    }

    /// The id of the current request.
    pub(super) fn current() -> Option<Self> {
        CURRENT.get()
    }

    /// Like [`tokio::spawn`], for a task of the current request: its log lines have the id too.
    pub fn spawn<T: Send + 'static>(
        task: impl Future<Output = T> + Send + 'static,
    ) -> tokio::task::JoinHandle<T> {
        match Self::current() {
            Some(id) => tokio::spawn(InRequest::new(id, task)),
            None => tokio::spawn(task),
        }
    }
}

/// The finalizer of `SplitMix64`: distinct inputs have distinct outputs, and neighbours look
/// unrelated.
fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[tokio::test]
    async fn each_future_has_the_id_of_its_own_request() {
        let (one, two) = (RequestId::next(), RequestId::next());
        let look_twice = async || {
            let first = RequestId::current();
            tokio::task::yield_now().await;
            [first, RequestId::current()]
        };
        let (seen, also_seen) =
            tokio::join!(InRequest::new(one, look_twice()), InRequest::new(two, look_twice()));
        assert_eq!((seen, also_seen), ([Some(one); 2], [Some(two); 2]));
        assert_eq!(RequestId::current(), None);
    }

    #[test]
    fn what_panics_leaves_no_id_behind() {
        let id = RequestId::next();
        let panicked = std::panic::catch_unwind(|| {
            let _entered = id.enter();
            panic!("within a request");
        });
        assert!(panicked.is_err() && RequestId::current().is_none());
    }

    #[test]
    fn ids_are_different_and_hexadecimal() {
        let ids: Vec<_> = (0..10_000).map(|_| RequestId::next()).collect();
        assert!(ids.iter().all(|id| id.as_str().chars().all(|c| c.is_ascii_hexdigit())));
        assert_eq!(ids.iter().map(RequestId::as_str).collect::<HashSet<_>>().len(), ids.len());
    }
}
