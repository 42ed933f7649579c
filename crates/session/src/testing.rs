//! The conformance and race suite for implementations of [`SessionStore`].
//!
//! One line in an integration test makes one test per property:
//!
//! ```
//! use tracera_session::{EmbeddedStore, testing::Instances};
//!
//! async fn storage() -> Instances {
//!     let store = EmbeddedStore::in_memory().expect("memory is there");
//!     Instances::new(store.clone(), store)
//! }
//!
//! tracera_session::conformance!(storage);
//! ```
//!
//! 1. Cases may share storage: each touches only users with random ids of its own.
//! 2. Two instances of the application run on the storage, each with a separate handle. They share
//!    a clock that the case moves, so no case waits for time to pass.
//! 3. Races are deterministic: the slow request is held between load and commit until the others
//!    are done.
//! 4. A case that hangs fails after a minute.
//! 5. Invalidations are tested through the near-cache, and waited for with a limit.
//! 6. The suite itself is tested: `tests/broken_stores.rs` pairs stores that each have one mistake
//!    with the case that finds it.

use std::any::Any;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;

use crate::error::SessionError;
use crate::session::sign_in::SignIn;
use crate::sessions::Sessions;
use crate::store::SessionStore;

mod cases;
mod probe;
mod stage;

pub use cases::ALL;

/// How long a case may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Two independent handles on one storage, as two processes would have them.
///
/// ```
/// use tracera_session::{EmbeddedStore, testing::Instances};
///
/// let store = EmbeddedStore::in_memory()?;
/// let instances = Instances::new(store.clone(), store);
/// # Ok::<(), tracera_session::OpenError>(())
/// ```
pub struct Instances {
    stores: [Arc<dyn SessionStore>; 2],
    breaking: Option<Arc<SetFault>>,
    kept: Box<dyn Any + Send + Sync>,
}

type SetFault = dyn Fn(Fault) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync;

/// A fault of the storage, for cases about errors.
///
/// ```
/// use tracera_session::testing::{Fault, Instances};
///
/// # async fn set_latency(_: Option<u64>) {}
/// # async fn close() {}
/// fn through_a_proxy(instances: Instances) -> Instances {
///     instances.breaking(async |fault| match fault {
///         Fault::Refuses => close().await,
///         Fault::Stalls => set_latency(Some(3600)).await,
///         _ => set_latency(None).await,
///     })
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// No fault.
    None,
    /// The storage cannot be reached.
    Refuses,
    /// The storage accepts commands and answers nothing.
    Stalls,
}

impl Instances {
    /// Two handles on the same storage.
    pub fn new(first: impl SessionStore, second: impl SessionStore) -> Self {
        let stores: [Arc<dyn SessionStore>; 2] = [Arc::new(first), Arc::new(second)];
        Self { stores, breaking: None, kept: Box::new(()) }
    }

    /// Lets the suite break the storage under both handles, by a proxy for instance. Without it the
    /// cases about errors pass without testing anything.
    #[must_use]
    pub fn breaking<F: Future<Output = ()> + Send + 'static>(
        mut self,
        set: impl Fn(Fault) -> F + Send + Sync + 'static,
    ) -> Self {
        self.breaking = Some(Arc::new(move |fault| Box::pin(set(fault))));
        self
    }

    /// Keeps a value, such as a server's process, until the case is over.
    #[must_use]
    pub fn keeping(mut self, server: impl Send + Sync + 'static) -> Self {
        self.kept = Box::new((self.kept, server));
        self
    }
}

impl fmt::Debug for Instances {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Instances")
    }
}

/// One property, to be tested on a storage.
///
/// ```
/// use tracera_session::testing;
///
/// # async fn storage() -> testing::Instances { unimplemented!() }
/// async fn all_cases_in_one_test() {
///     for case in testing::ALL {
///         case.run(storage().await).await;
///     }
/// }
/// ```
#[derive(Clone, Copy)]
pub struct Case {
    /// The property that the case tests.
    pub name: &'static str,
    run: fn(Instances) -> Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Case {
    /// Runs the case; panics when the store does not have the property.
    pub async fn run(&self, instances: Instances) {
        let run = (self.run)(instances);
        assert!(tokio::time::timeout(LIMIT, run).await.is_ok(), "{} hangs", self.name);
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The request headers of a browser that has just signed in, for tests of an application: they hold
/// its session cookie.
///
/// ```
/// use http::HeaderMap;
/// use tracera_session::{SessionError, Sessions, SignIn, testing::signed_in};
///
/// async fn headers_of_user_42(sessions: &Sessions) -> Result<HeaderMap, SessionError> {
///     signed_in(sessions, SignIn::new(42.into(), "test")).await
/// }
/// ```
///
/// # Errors
/// As [`Session::sign_in`](crate::Session::sign_in).
///
/// # Panics
/// If the cookie that this crate wrote cannot be sent back, which would be a bug here.
pub async fn signed_in(sessions: &Sessions, sign_in: SignIn) -> Result<HeaderMap, SessionError> {
    let session = sessions.open(&HeaderMap::new()).await;
    session.sign_in(sign_in).await?;
    let line = session.finish().await.set_cookie.expect("a sign-in sets the cookie");
    let pair = line.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    let pair = http::HeaderValue::from_bytes(pair).expect("it was a header before");
    Ok(HeaderMap::from_iter([(http::header::COOKIE, pair)]))
}

/// Runs the named case in a new runtime. For [`conformance!`](crate::conformance).
#[doc(hidden)]
pub fn run_in_runtime<F: Future<Output = Instances>>(name: &str, factory: impl FnOnce() -> F) {
    let case =
        ALL.iter().find(|case| case.name == name).expect("the macro lists the cases there are");
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime can be built")
        .block_on(async { case.run(factory().await).await });
}
