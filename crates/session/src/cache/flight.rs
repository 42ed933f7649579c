//! One question to the store for all requests that want the same session at the same moment.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::OnceCell;

use super::Ticket;
use crate::session::Ended;
use crate::snapshot::Snapshot;
use crate::store::StoreError;

/// What asking for a session came to.
pub(crate) type Outcome = Result<Result<Snapshot, Ended>, Arc<StoreError>>;

type Field = [u8; 16];

#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<Field, Weak<Flight>>>);

struct Flight {
    ticket: Ticket,
    outcome: OnceCell<Outcome>,
}

/// A request's part in a flight.
pub(super) struct Joined<'a> {
    flights: &'a Flights,
    field: Field,
    /// Taken when dropped.
    flight: Option<Arc<Flight>>,
}

impl Flights {
    /// Joins the flight under way, unless a change came since it began: its answer may be from
    /// before. One that has landed is not under way, though some of those on it may not have
    /// noticed.
    pub(super) fn join(&self, field: Field, ticket: Ticket) -> Joined<'_> {
        let mut flights = self.lock();
        let is_open =
            |flight: &Arc<Flight>| flight.ticket == ticket && !flight.outcome.initialized();
        let under_way = flights.get(&field).and_then(Weak::upgrade).filter(is_open);
        let flight = under_way.unwrap_or_else(|| {
            let flight = Arc::new(Flight { ticket, outcome: OnceCell::new() });
            flights.insert(field, Arc::downgrade(&flight));
            flight
        });
        Joined { flights: self, field, flight: Some(flight) }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Field, Weak<Flight>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Joined<'_> {
    /// The outcome, from `ask` if nobody is asking already. When the one who asks goes away another
    /// takes over.
    pub(super) async fn outcome(&self, ask: impl Future<Output = Outcome>) -> Outcome {
        let flight = self.flight.as_ref().expect("taken only when dropped");
        flight.outcome.get_or_init(|| ask).await.clone()
    }
}

impl Drop for Joined<'_> {
    fn drop(&mut self) {
        let mut flights = self.flights.lock();
        self.flight = None;
        if flights.get(&self.field).is_some_and(|flight| flight.strong_count() == 0) {
            flights.remove(&self.field);
        }
    }
}
