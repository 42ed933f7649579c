//! Single flight: one read of the store for all requests that want the same session at the same
//! time.
//!
//! 1. Requests join the call under way only if no change came since it began.
//! 2. A call that has its outcome accepts no more requests.
//! 3. When the request that reads is dropped, another request of the call reads in its place.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, Weak};

use tokio::sync::OnceCell;

use crate::ended::Ended;
use crate::snapshot::Snapshot;
use crate::store::StoreError;
use crate::sync::{Mutex, MutexGuard};

/// The result of reading a session.
pub(crate) type Outcome = Result<Result<Snapshot, Ended>, Arc<StoreError>>;

type Field = [u8; 16];

/// The state of the cache before a read. The answer is kept only if the state is the same
/// afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) version: u32,
    pub(super) flushes: u32,
}

/// The calls under way.
#[derive(Default)]
pub(super) struct SingleFlight {
    calls: Mutex<HashMap<Field, Weak<Call>>>,
}

struct Call {
    ticket: Ticket,
    outcome: OnceCell<Outcome>,
}

/// A request's part in a call.
pub(super) struct Joined<'a> {
    single_flight: &'a SingleFlight,
    field: Field,
    /// `None` only once dropped.
    call: Option<Arc<Call>>,
}

impl SingleFlight {
    /// Joins the call under way, or begins one.
    pub(super) fn join(&self, field: Field, ticket: Ticket) -> Joined<'_> {
        let mut calls = self.lock();
        let is_open = |call: &Arc<Call>| call.ticket == ticket && !call.outcome.initialized();
        let under_way = calls.get(&field).and_then(Weak::upgrade).filter(is_open);
        let call = under_way.unwrap_or_else(|| {
            let call = Arc::new(Call { ticket, outcome: OnceCell::new() });
            calls.insert(field, Arc::downgrade(&call));
            call
        });
        Joined { single_flight: self, field, call: Some(call) }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Field, Weak<Call>>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Joined<'_> {
    /// The outcome of the call. This request runs `ask` if no other request of the call does.
    pub(super) async fn outcome(&self, ask: impl Future<Output = Outcome>) -> Outcome {
        let call = self.call.as_ref().expect("taken only when dropped");
        call.outcome.get_or_init(|| ask).await.clone()
    }
}

impl Drop for Joined<'_> {
    fn drop(&mut self) {
        let mut calls = self.single_flight.lock();
        self.call = None;
        if calls.get(&self.field).is_some_and(|call| call.strong_count() == 0) {
            calls.remove(&self.field);
        }
    }
}
