//! The id of the current request, added to every line logged while it is handled.

use std::cell::Cell;
use std::fmt;
use std::pin::Pin;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::trace::{InSpan, Span};

thread_local! {
    static CURRENT: Cell<Option<RequestId>> = const { Cell::new(None) };
}

pin_project! {
    /// A future whose log lines have the id of its request, and whose spans are children of the
    /// request's span.
    pub struct InRequest<F> {
        id: RequestId,
        #[pin]
        future: InSpan<F>,
    }
}

impl<F: Future> InRequest<F> {
    /// Wraps a future of this request.
    pub fn new(id: RequestId, span: Span, future: F) -> Self {
        Self { id, future: span.around(future) }
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

/// Maximum length of an id that a proxy sent.
const LONGEST: usize = 64;

/// The id that a trusted proxy sent, or else 16 hexadecimal digits. These are unique within a
/// process and almost certainly across processes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestId {
    text: [u8; LONGEST],
    len: u8,
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl RequestId {
    /// The next id. Ids correlate log lines and are not secret. So randomness is read once, and a
    /// counter follows.
    pub fn next() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        static START: OnceLock<u64> = OnceLock::new();
        let start = START.get_or_init(|| uuid::Uuid::new_v4().as_u64_pair().0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let mixed = mix(start.wrapping_add(count.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        let mut text = [0; LONGEST];
        for (place, digit) in text[..16].iter_mut().enumerate() {
            *digit = b"0123456789abcdef"[(mixed >> (60 - 4 * place) & 15) as usize];
        }
        Self { text, len: 16 }
    }

    /// One that a proxy chose: 1 to 64 letters, digits and `-`, `_`, `.`, `:`, `=`, `+`, `/`, `@`.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:=+/@".contains(byte);
        if !(1..=LONGEST).contains(&value.len()) || !value.iter().all(fits) {
            return None;
        }
        let mut text = [0; LONGEST];
        text[..value.len()].copy_from_slice(value);
        Some(Self { text, len: u8::try_from(value.len()).ok()? })
    }

    /// Its characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text[..usize::from(self.len)]).expect("it is ASCII")
    }

    /// Adds the id to lines logged from now on.
    pub fn enter(self) -> Entered {
        Entered { before: CURRENT.replace(Some(self)) }
    }

    /// The id of the current request.
    pub(super) fn current() -> Option<Self> {
        CURRENT.get()
    }

    /// Like [`tokio::spawn`], for a task of the current request: its log lines have the id too, and
    /// its spans are children of the request's span.
    pub fn spawn<T: Send + 'static>(
        task: impl Future<Output = T> + Send + 'static,
    ) -> tokio::task::JoinHandle<T> {
        match Self::current() {
            Some(id) => tokio::spawn(InRequest::new(id, Span::current(), task)),
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

    fn within<F: Future>(id: RequestId, future: F) -> InRequest<F> {
        InRequest::new(id, Span::default(), future)
    }

    #[test]
    fn of_a_proxy_only_short_and_plain_ids_are_kept() {
        for id in ["5f9c", "0b8c2a4e-7d1f-4c0e-9a55-0d6c1f0e7b42", "Root=1-67891233-abc", "a/b@c:d"]
        {
            assert_eq!(RequestId::parse(id.as_bytes()).unwrap().as_str(), id);
        }
        let long = "a".repeat(65);
        for id in ["", "a b", "a\"b", "a\r\nb", "a;b", "ä", "<b>", "a,b", &long] {
            assert!(RequestId::parse(id.as_bytes()).is_none(), "{id}");
        }
        assert_eq!(RequestId::parse(&[b'a'; 64]).unwrap().as_str().len(), 64);
    }

    #[tokio::test]
    async fn each_future_has_the_id_of_its_own_request() {
        let (one, two) = (RequestId::next(), RequestId::next());
        let look_twice = async || {
            let first = RequestId::current();
            tokio::task::yield_now().await;
            [first, RequestId::current()]
        };
        let (seen, also_seen) = tokio::join!(within(one, look_twice()), within(two, look_twice()));
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
