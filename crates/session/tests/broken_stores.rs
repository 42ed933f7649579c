//! Tests the suite: each of these stores has one defect, and the named case catches it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::match_bool, reason = "each match shows the defect beside what is right")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::task::yield_now;
use tracera_session::store::{
    At, Committed, Created, FieldName, FieldOp, FieldReply, Found, Invalidations, ListedSession,
    NewSession, Rotated, Rotation, SessionId, StoreError, StoreFuture, StoredField, StoredSession,
    Tag,
};
use tracera_session::testing::{ALL, Fault, Instances};
use tracera_session::{Budget, EmbeddedStore, Epoch, SessionStore};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Defect {
    LoadsNoValues,
    LoadsNoUser,
    ReadsNoEpoch,
    CreatesWhateverTheEpoch,
    SaysCreatedOfACollision,
    KeepsWhatIsReplaced,
    KeepsTooManySessions,
    CarriesNothing,
    HasNoBudget,
    CommitsOneByOne,
    SaysDoneOfTheDead,
    NeverTouches,
    TouchesAllTheTime,
    IncrementsInTwoSteps,
    TakesAndKeeps,
    TakesInTwoSteps,
    NamesNoFields,
    SetsThoughPresent,
    ComparesNothing,
    ChangesWhatIsUnchanged,
    RotatesTwice,
    RotatesTheDead,
    DestroysNothing,
    AbandonsWithoutATrace,
    ListsNothing,
    EndsTheOneToKeep,
    EndsOthersForTheDead,
    TellsNoChange,
    SaysAbsentOnAnError,
    StallsOnAnError,
}

use Defect::*;

/// Each defect, and the case that catches it.
const CAUGHT: [(Defect, &str); 30] = [
    (LoadsNoValues, "what_is_created_is_loaded_by_every_instance"),
    (LoadsNoUser, "what_is_created_is_loaded_by_every_instance"),
    (ReadsNoEpoch, "the_epoch_only_rises_and_is_remembered"),
    (CreatesWhateverTheEpoch, "a_sign_in_that_began_before_a_sign_out_everywhere_is_refused"),
    (SaysCreatedOfACollision, "a_tag_belongs_to_one_user"),
    (KeepsWhatIsReplaced, "a_replacement_ends_the_old_session_with_its_data"),
    (KeepsTooManySessions, "a_session_beyond_the_most_ends_the_oldest"),
    (CarriesNothing, "a_sign_in_carries_the_fields_it_names_and_no_others"),
    (HasNoBudget, "a_session_holds_what_its_budget_allows_and_no_more"),
    (CommitsOneByOne, "a_commit_is_all_or_nothing"),
    (SaysDoneOfTheDead, "nothing_acts_on_what_was_destroyed"),
    (NeverTouches, "the_idle_deadline_moves_with_use"),
    (TouchesAllTheTime, "a_touch_that_comes_late_does_not_write_again"),
    (IncrementsInTwoSteps, "a_hundred_parallel_requests_lose_no_increment_and_no_field"),
    (TakesAndKeeps, "of_a_hundred_takers_one_takes"),
    (TakesInTwoSteps, "of_a_hundred_takers_one_takes"),
    (NamesNoFields, "a_session_names_its_fields_and_loses_them_all_when_cleared"),
    (SetsThoughPresent, "of_a_hundred_setters_one_sets"),
    (ComparesNothing, "a_hundred_parallel_updates_of_one_field_keep_a_hundred"),
    (ChangesWhatIsUnchanged, "an_absent_field_is_taken_without_a_change"),
    (RotatesTwice, "two_rotations_in_flight_leave_the_browser_a_live_session"),
    (RotatesTheDead, "nothing_acts_on_what_was_destroyed"),
    (DestroysNothing, "destroying_a_rotated_id_ends_its_successor"),
    (AbandonsWithoutATrace, "an_abandoned_id_leads_nowhere_for_a_minute"),
    (ListsNothing, "listings_hold_all_records_and_no_forwards"),
    (EndsTheOneToKeep, "signing_out_the_others_keeps_this_one"),
    (EndsOthersForTheDead, "a_dead_session_cannot_sign_out_the_others"),
    (TellsNoChange, "what_another_instance_ends_is_refused_in_time"),
    (SaysAbsentOnAnError, "a_store_that_cannot_be_reached_is_an_error_and_no_absence"),
    (StallsOnAnError, "a_store_that_stalls_answers_within_its_limit"),
];

/// A correct store behind a defect. It can be made to fail, which it does correctly except with two
/// of the defects.
#[derive(Clone)]
struct Broken {
    store: EmbeddedStore,
    defect: Option<Defect>,
    fault: Arc<AtomicU8>,
}

impl Broken {
    fn is(&self, defect: Defect) -> bool {
        self.defect == Some(defect)
    }

    /// Applies the fault, if there is one, before each operation.
    async fn reach(&self) -> Result<(), StoreError> {
        match self.fault.load(Ordering::SeqCst) {
            0 => Ok(()),
            2 if self.is(StallsOnAnError) => std::future::pending().await,
            _ => Err(StoreError::unavailable("it is broken")),
        }
    }

    async fn read(&self, id: &SessionId, name: &FieldName) -> Result<Option<Vec<u8>>, StoreError> {
        let stored = self.store.load(id, std::slice::from_ref(name)).await?;
        // Lets other tasks read in between.
        for _ in 0..200 {
            yield_now().await;
        }
        Ok(stored.and_then(|stored| stored.values.into_iter().next().flatten()))
    }

    /// Splits one operation into two steps, if that is the defect.
    async fn torn(
        &self,
        id: &SessionId,
        (name, op): &(FieldName, FieldOp),
    ) -> Result<Option<(FieldOp, FieldReply)>, StoreError> {
        Ok(match op {
            FieldOp::Increment(by) if self.is(IncrementsInTwoSteps) => {
                let old = self.read(id, name).await?.unwrap_or_else(|| b"0".to_vec());
                let sum = String::from_utf8(old).unwrap().parse::<i64>().unwrap() + by;
                Some((FieldOp::Set(sum.to_string().into()), FieldReply::Number(sum)))
            }
            FieldOp::Take if self.is(TakesAndKeeps) => {
                let value = self.read(id, name).await?;
                let keep = value.clone().map_or(FieldOp::Remove, FieldOp::Set);
                Some((keep, FieldReply::Taken(value)))
            }
            FieldOp::Take if self.is(TakesInTwoSteps) => {
                let value = self.read(id, name).await?;
                // As long as a round trip to a server takes.
                tokio::time::sleep(Duration::from_millis(20)).await;
                Some((FieldOp::Remove, FieldReply::Taken(value)))
            }
            FieldOp::SetIfAbsent(value) if self.is(SetsThoughPresent) => {
                Some((FieldOp::Set(value.clone()), FieldReply::WasAbsent(true)))
            }
            FieldOp::CompareAndSet { new, .. } if self.is(ComparesNothing) => {
                let op = new.clone().map_or(FieldOp::Remove, FieldOp::Set);
                Some((op, FieldReply::Compared(Ok(()))))
            }
            _ => None,
        })
    }
}

impl SessionStore for Broken {
    fn load<'a>(
        &'a self,
        id: &'a SessionId,
        names: &'a [FieldName],
    ) -> StoreFuture<'a, Option<StoredSession>> {
        Box::pin(async move {
            match self.reach().await {
                Err(_) if self.is(SaysAbsentOnAnError) => return Ok(None),
                reached => reached?,
            }
            let mut stored = self.store.load(id, names).await?;
            if let Some(stored) = &mut stored {
                if self.is(LoadsNoValues) {
                    stored.values.fill(None);
                }
                if self.is(LoadsNoUser) {
                    stored.user = None;
                }
            }
            Ok(stored)
        })
    }

    fn invalidations(&self) -> Option<Invalidations> {
        if self.is(TellsNoChange) {
            return Some(Invalidations::complete());
        }
        SessionStore::invalidations(&self.store)
    }

    fn epoch<'a>(&'a self, tag: &'a Tag) -> StoreFuture<'a, Epoch> {
        Box::pin(async move {
            self.reach().await?;
            if self.is(ReadsNoEpoch) { Ok(Epoch::default()) } else { self.store.epoch(tag).await }
        })
    }

    fn create<'a>(&'a self, new: &'a NewSession<'a>, at: At) -> StoreFuture<'a, Created> {
        Box::pin(async move {
            self.reach().await?;
            let epoch = match self.is(CreatesWhateverTheEpoch) {
                true => self.store.epoch(&new.id.tag).await?,
                false => new.epoch,
            };
            let most = if self.is(KeepsTooManySessions) { usize::MAX } else { new.max_sessions };
            let carried = !self.is(CarriesNothing);
            let changed = NewSession {
                record: new.record.clone(),
                epoch,
                replaces: new.replaces.filter(|_| !self.is(KeepsWhatIsReplaced)),
                max_sessions: most,
                carry: if carried { new.carry } else { &[] },
                data: if carried { new.data } else { &[] },
                ..*new
            };
            match self.store.create(&changed, at).await? {
                Created::Collision if self.is(SaysCreatedOfACollision) => Ok(Created::Created),
                created => Ok(created),
            }
        })
    }

    fn commit<'a>(
        &'a self,
        id: &'a SessionId,
        ops: &'a [(FieldName, FieldOp)],
        touch: Option<Duration>,
        budget: Budget,
        at: At,
    ) -> StoreFuture<'a, Committed> {
        Box::pin(async move {
            self.reach().await?;
            let budget = match self.is(HasNoBudget) {
                true => Budget { fields: u8::MAX, bytes: u16::MAX },
                false => budget,
            };
            let touch = match self.defect {
                Some(NeverTouches) => None,
                Some(TouchesAllTheTime) => touch.map(|_| Duration::ZERO),
                _ => touch,
            };
            if self.is(CommitsOneByOne) {
                let mut all = Vec::new();
                let mut any_changed = false;
                for op in ops {
                    match self.store.commit(id, std::slice::from_ref(op), touch, budget, at).await?
                    {
                        Committed::Done { answers, changed, .. } => {
                            all.extend(answers);
                            any_changed |= changed;
                        }
                        refused => return Ok(refused),
                    }
                }
                return Ok(Committed::Done {
                    answers: all,
                    forwarded: false,
                    changed: any_changed,
                });
            }
            let (mut done, mut replies) = (ops.to_vec(), Vec::new());
            for (at, op) in ops.iter().enumerate() {
                if let Some((torn, reply)) = self.torn(id, op).await? {
                    done[at].1 = torn;
                    replies.push((at, reply));
                }
            }
            let mut committed = self.store.commit(id, &done, touch, budget, at).await?;
            match &mut committed {
                Committed::Done { answers, changed, .. } => {
                    for (at, reply) in replies {
                        answers[at] = reply;
                    }
                    *changed |= self.is(ChangesWhatIsUnchanged);
                }
                Committed::Gone if self.is(SaysDoneOfTheDead) => {
                    let answers = ops.iter().map(|_| FieldReply::Done).collect();
                    committed = Committed::Done { answers, forwarded: false, changed: true };
                }
                _ => {}
            }
            Ok(committed)
        })
    }

    fn rotate<'a>(
        &'a self,
        id: &'a SessionId,
        rotation: &'a Rotation,
        at: At,
    ) -> StoreFuture<'a, Rotated> {
        Box::pin(async move {
            self.reach().await?;
            match self.store.rotate(id, rotation, at).await? {
                Rotated::Before if self.is(RotatesTwice) => Ok(Rotated::Rotated),
                Rotated::Gone if self.is(RotatesTheDead) => Ok(Rotated::Rotated),
                rotated => Ok(rotated),
            }
        })
    }

    fn destroy<'a>(&'a self, id: &'a SessionId, at: At) -> StoreFuture<'a, Found> {
        Box::pin(async move {
            self.reach().await?;
            match self.is(DestroysNothing) {
                true => Ok(Found::Alive),
                false => self.store.destroy(id, at).await,
            }
        })
    }

    fn abandon<'a>(&'a self, id: &'a SessionId, at: At) -> StoreFuture<'a, Found> {
        Box::pin(async move {
            self.reach().await?;
            match self.is(AbandonsWithoutATrace) {
                true => self.store.destroy(id, at).await,
                false => self.store.abandon(id, at).await,
            }
        })
    }

    fn list<'a>(&'a self, tag: &'a Tag) -> StoreFuture<'a, (Epoch, Vec<ListedSession>)> {
        Box::pin(async move {
            self.reach().await?;
            let (epoch, mut listed) = self.store.list(tag).await?;
            if self.is(ListsNothing) {
                listed.clear();
            }
            Ok((epoch, listed))
        })
    }

    fn fields<'a>(&'a self, tag: &'a Tag) -> StoreFuture<'a, Vec<StoredField>> {
        Box::pin(async move {
            self.reach().await?;
            match self.is(NamesNoFields) {
                true => Ok(Vec::new()),
                false => self.store.fields(tag).await,
            }
        })
    }

    fn revoke_all<'a>(
        &'a self,
        tag: &'a Tag,
        keep: Option<&'a [u8; 16]>,
        remember: Duration,
        at: At,
    ) -> StoreFuture<'a, Found> {
        Box::pin(async move {
            self.reach().await?;
            let keep = keep.filter(|_| !self.is(EndsTheOneToKeep));
            match self.store.revoke_all(tag, keep, remember, at).await? {
                Found::Gone if self.is(EndsOthersForTheDead) => {
                    self.store.revoke_all(tag, None, remember, at).await
                }
                found => Ok(found),
            }
        })
    }

    fn ping(&self) -> StoreFuture<'_, ()> {
        Box::pin(self.reach())
    }
}

fn storage(defect: Option<Defect>) -> Instances {
    let store = EmbeddedStore::in_memory().unwrap();
    let broken = Broken { store, defect, fault: Arc::default() };
    let fault = broken.fault.clone();
    Instances::new(broken.clone(), broken).breaking(move |wanted| {
        let number = match wanted {
            Fault::None => 0,
            Fault::Refuses => 1,
            _ => 2,
        };
        fault.store(number, Ordering::SeqCst);
        std::future::ready(())
    })
}

/// The failure message of the case for a store with the defect; `None` if it passes.
async fn complaint(case: &str, defect: Option<Defect>) -> Option<String> {
    let case = *ALL.iter().find(|known| known.name == case).expect(case);
    let run = tokio::spawn(async move { case.run(storage(defect)).await });
    let panic = run.await.err()?.into_panic();
    let text = panic.downcast_ref::<String>().cloned();
    Some(text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_broken_store_is_caught_and_the_same_store_without_the_defect_passes() {
    let mut missed = Vec::new();
    for (defect, case) in CAUGHT {
        assert_eq!(complaint(case, None).await, None, "{case} refuses a good store");
        match complaint(case, Some(defect)).await {
            Some(complaint) => println!("{defect:?}: {complaint}"),
            None => missed.push((defect, case)),
        }
    }
    assert_eq!(missed, []);
}
