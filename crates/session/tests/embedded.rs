//! The conformance suite on the embedded store in memory.

use tracera_session::{EmbeddedStore, testing::Instances};

async fn storage() -> Instances {
    let store = EmbeddedStore::in_memory().expect("memory is there");
    Instances::new(store.clone(), store)
}

tracera_session::conformance!(storage);
