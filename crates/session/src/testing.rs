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
//! 1. Each case gets storage of its own from the factory, or shares it with others: it only touches
//!    users it has made up.
//! 2. Two instances of the application run on the storage, each with a handle of its own. They
//!    share a clock that the case moves; nothing waits for time to pass.
//! 3. A race is no matter of luck: the slow request is held between load and commit until the
//!    others are done.
//! 4. A case that hangs fails after a minute.

use std::any::Any;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::store::SessionStore;

mod cases;
mod probe;
mod stage;

pub use cases::ALL;

/// How long a case may take.
const LIMIT: Duration = Duration::from_mins(1);

/// Two independent handles on one storage, as two processes would have them.
pub struct Instances {
    stores: [Arc<dyn SessionStore>; 2],
    kept: Box<dyn Any + Send + Sync>,
}

impl Instances {
    /// Two handles on the same storage.
    pub fn new(first: impl SessionStore, second: impl SessionStore) -> Self {
        Self { stores: [Arc::new(first), Arc::new(second)], kept: Box::new(()) }
    }

    /// Keeps something, such as a server's process, until the case is over.
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

/// One property, to be run on storage.
#[derive(Clone, Copy)]
pub struct Case {
    /// What it shows.
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

/// Runs the case of that name in a runtime of its own. For [`conformance!`](crate::conformance).
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
