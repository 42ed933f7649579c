//! The conformance suite on a `ValueStore` that announces no changes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tracera_session::store::{StoreFuture, Tag, Update, ValueStore, Write};
use tracera_session::testing::Instances;

/// Updates by compare-and-set, with one lost race per update.
#[derive(Clone, Default)]
struct MemoryStore {
    values: Arc<Mutex<HashMap<Tag, Vec<u8>>>>,
}

impl ValueStore for MemoryStore {
    fn read<'a>(&'a self, tag: &'a Tag) -> StoreFuture<'a, Option<Vec<u8>>> {
        Box::pin(async { Ok(self.values.lock().unwrap().get(tag).cloned()) })
    }

    fn update<'a>(&'a self, tag: &'a Tag, mut update: Update) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let lost = self.read(tag).await?;
            update.apply(lost.as_deref())?;
            loop {
                let seen = self.read(tag).await?;
                let write = update.apply(seen.as_deref())?;
                let mut values = self.values.lock().unwrap();
                if values.get(tag) != seen.as_ref() {
                    continue;
                }
                match write {
                    Write::Keep => {}
                    Write::Put { value, .. } => drop(values.insert(*tag, value)),
                    Write::Remove => drop(values.remove(tag)),
                }
                return Ok(());
            }
        })
    }
}

async fn storage() -> Instances {
    let store = MemoryStore::default();
    Instances::new(store.clone(), store)
}

tracera_session::conformance!(storage);
