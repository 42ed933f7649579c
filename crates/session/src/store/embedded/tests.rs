//! A file on a disk that fails.

use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use redb::StorageBackend;
use tokio::task::JoinSet;

use super::heal::PAUSE;
use super::*;
use crate::clock::Timestamp;
use crate::invalidations::Listener;
use crate::record::Epoch;
use crate::store::{At, Created, NewSession, SessionStore};
use crate::token::SessionId;

/// A disk with one file.
#[derive(Clone, Default)]
struct Disk(Arc<Inner>);

#[derive(Default)]
struct Inner {
    bytes: Mutex<Vec<u8>>,
    /// The offset of the part that was never written. A full disk has no room for it.
    unwritten: AtomicU64,
    state: Mutex<Health>,
    opened: AtomicUsize,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Health {
    #[default]
    Good,
    Full,
    Broken,
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Disk")
    }
}

impl Disk {
    fn store(&self) -> EmbeddedStore {
        let disk = self.clone();
        EmbeddedStore::over(self.open().unwrap(), move || disk.open()).unwrap()
    }

    /// Every read goes to the disk.
    fn open(&self) -> Result<Database, DatabaseError> {
        self.0.opened.fetch_add(1, SeqCst);
        Database::builder().set_cache_size(0).create_with_backend(self.clone())
    }

    fn is(&self, health: Health) {
        *self.0.state.lock().unwrap() = health;
    }

    fn check(&self, end: u64) -> io::Result<()> {
        match *self.0.state.lock().unwrap() {
            Health::Broken => Err(io::Error::other("broken")),
            Health::Full if end > self.0.unwritten.load(SeqCst) => {
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => Ok(()),
        }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.bytes.lock().unwrap().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.check(0)?;
        let offset = usize::try_from(offset).unwrap();
        out.copy_from_slice(&self.0.bytes.lock().unwrap()[offset..offset + out.len()]);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check(0)?;
        self.0.unwritten.fetch_min(len, SeqCst);
        self.0.bytes.lock().unwrap().resize(usize::try_from(len).unwrap(), 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.check(0)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let end = offset + data.len() as u64;
        self.check(end)?;
        self.0.unwritten.fetch_max(end, SeqCst);
        let offset = usize::try_from(offset).unwrap();
        self.0.bytes.lock().unwrap()[offset..offset + data.len()].copy_from_slice(data);
        Ok(())
    }
}

/// Writes about a thousand bytes under a separate tag.
async fn sign_in(store: &EmbeddedStore, number: u8) -> Result<Created, StoreError> {
    let id = SessionId { tag: Tag([number; TAG_BYTES]), field: [number; 16] };
    let new = NewSession {
        id,
        user: None,
        record: vec![number; 20_000],
        epoch: Epoch::default(),
        replaces: None,
        max_sessions: 1,
        carry: &[],
        data: &[],
    };
    store.create(&new, At { now: Timestamp::from_millis(0), idle: None }).await
}

async fn is_there(store: &EmbeddedStore, number: u8) -> Result<bool, StoreError> {
    let id = SessionId { tag: Tag([number; TAG_BYTES]), field: [number; 16] };
    Ok(store.load(&id, &[]).await?.is_some())
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_refuses_writes_and_no_reads_and_both_go_on_when_there_is_room() {
    let disk = Disk::default();
    let store = disk.store();
    sign_in(&store, 1).await.unwrap();
    ValueStore::ping(&store).await.unwrap();

    disk.is(Health::Full);
    let mut stored = 2;
    while sign_in(&store, stored).await.is_ok() {
        stored += 1;
    }
    for _ in 0..3 {
        assert!(matches!(sign_in(&store, 200).await, Err(StoreError::Unavailable(_))));
        assert!(matches!(ValueStore::ping(&store).await, Err(StoreError::Unavailable(_))));
        for number in 1..stored {
            assert!(is_there(&store, number).await.unwrap());
        }
        assert!(!is_there(&store, stored).await.unwrap());
        tokio::time::advance(PAUSE).await;
    }

    disk.is(Health::Good);
    sign_in(&store, 200).await.unwrap();
    ValueStore::ping(&store).await.unwrap();
    for number in (1..stored).chain([200]) {
        assert!(is_there(&store, number).await.unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn a_broken_disk_is_tried_once_per_pause_and_found_mended_by_a_ping_alone() {
    let disk = Disk::default();
    let store = disk.store();
    sign_in(&store, 1).await.unwrap();

    disk.is(Health::Broken);
    sign_in(&store, 2).await.unwrap_err();
    assert!(matches!(is_there(&store, 1).await, Err(StoreError::Unavailable(_))));
    for _ in 0..3 {
        let opened = disk.0.opened.load(SeqCst);
        let mut trying = JoinSet::new();
        for number in 2..20 {
            let store = store.clone();
            trying.spawn(async move {
                sign_in(&store, number).await.is_err() && ValueStore::ping(&store).await.is_err()
            });
        }
        assert_eq!(trying.join_all().await, [true; 18]);
        assert_eq!(disk.0.opened.load(SeqCst), opened);
        tokio::time::advance(PAUSE).await;
        ValueStore::ping(&store).await.unwrap_err();
    }

    disk.is(Health::Good);
    ValueStore::ping(&store).await.unwrap_err();
    tokio::time::advance(PAUSE).await;
    ValueStore::ping(&store).await.unwrap();
    assert!(is_there(&store, 1).await.unwrap());
    sign_in(&store, 2).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_read_that_failed_ends_writing_too_which_a_ping_tells_and_mends() {
    let disk = Disk::default();
    let store = disk.store();
    sign_in(&store, 1).await.unwrap();
    disk.is(Health::Broken);
    is_there(&store, 1).await.unwrap_err();
    disk.is(Health::Good);
    ValueStore::ping(&store).await.unwrap_err();
    tokio::time::advance(PAUSE).await;
    ValueStore::ping(&store).await.unwrap();
    assert!(is_there(&store, 1).await.unwrap());
}

/// Whether a failed commit took effect is known only when the file is reopened.
#[tokio::test]
async fn copies_are_given_up_when_a_write_failed() {
    struct Losses(AtomicUsize);
    impl Listener for Losses {
        fn changed(&self, _: &Tag) {}
        fn lost(&self) {
            self.0.fetch_add(1, SeqCst);
        }
    }
    let disk = Disk::default();
    let store = disk.store();
    let losses = Arc::new(Losses(AtomicUsize::new(0)));
    let listener: Arc<dyn Listener> = losses.clone();
    store.changes.listen(Arc::downgrade(&listener));
    sign_in(&store, 1).await.unwrap();
    assert_eq!(losses.0.load(SeqCst), 0);
    disk.is(Health::Broken);
    sign_in(&store, 2).await.unwrap_err();
    assert_eq!(losses.0.load(SeqCst), 1);
}
