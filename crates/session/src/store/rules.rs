//! The rules of all writes, as pure functions over one user's value: liveness, forwards, trimming,
//! budgets. The Redis scripts implement the same rules.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{
    At, Budget, Committed, Created, FORWARD, FieldName, FieldOp, FieldReply, Found, Rotated,
    StoreError,
};
use crate::clock::Timestamp;
use crate::record::envelope::{self, is_record};
use crate::record::{Epoch, Forward, NOWHERE};
use crate::token::UserId;

/// Whole numbers stay below this, as in the scripts, where a double must hold them exactly.
const NUMBER_LIMIT: u64 = 1 << 53;

pub(super) type Field = [u8; 16];

/// The fields under one tag, and the time the last of them expires.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct UserValue {
    pub(super) expires: Timestamp,
    pub(super) fields: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// The arguments of [`UserValue::create`].
pub(super) struct Creation {
    pub(super) field: Field,
    pub(super) user: Option<UserId>,
    pub(super) record: Vec<u8>,
    pub(super) epoch: Epoch,
    pub(super) replaces: Option<Field>,
    pub(super) max_sessions: usize,
    pub(super) carry: Vec<FieldName>,
    pub(super) data: Vec<(FieldName, Vec<u8>)>,
}

impl UserValue {
    pub(super) fn epoch(&self) -> Epoch {
        self.fields
            .get(&b"e"[..])
            .and_then(|bytes| bytes.as_slice().try_into().ok())
            .map_or(Epoch::default(), |bytes| Epoch::new(u64::from_be_bytes(bytes)))
    }

    pub(super) fn user(&self) -> Option<&[u8]> {
        self.fields.get(&b"u"[..]).map(Vec::as_slice)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    pub(super) fn create(&mut self, new: &Creation, at: At) -> Created {
        if self.user().is_some_and(|owner| Some(owner) != new.user.as_ref().map(UserId::as_bytes)) {
            return Created::Collision;
        }
        if self.epoch() != new.epoch {
            return Created::Superseded;
        }
        let mut data = new.data.clone();
        if let Some(old) = new.replaces.and_then(|old| self.live(old, at)) {
            data.extend(new.carry.iter().filter_map(|name| {
                Some((name.clone(), self.fields.get(&name.under(&old))?.clone()))
            }));
            self.drop_session(&old);
            self.leave_forward(old, new.field, at);
        }
        self.trim(at, new.max_sessions.saturating_sub(1));

        if let Some(user) = &new.user {
            self.fields.insert(b"u".into(), user.as_bytes().into());
        }
        for (name, value) in data {
            self.fields.insert(name.under(&new.field), value);
        }
        let mut record = new.record.clone();
        let used = self.usage(&new.field);
        if used.0 > 0 {
            envelope::set_usage(&mut record, saturated(used));
        }
        self.keep_until(envelope::deadline(&record, at.idle));
        self.fields.insert(new.field.into(), record);
        Created::Created
    }

    pub(super) fn commit(
        &mut self,
        id: Field,
        changes: &[(FieldName, FieldOp)],
        touch: Option<Duration>,
        budget: Budget,
        at: At,
    ) -> Committed {
        let Some(alive) = self.live(id, at) else { return Committed::Gone };
        let mut next = self.clone();
        let mut answers = Vec::with_capacity(changes.len());
        for (name, change) in changes {
            match next.apply(name.under(&alive), change) {
                Some(answer) => answers.push(answer),
                None => return Committed::NotANumber,
            }
        }
        let used = next.usage(&alive);
        let record = next.fields.get_mut(&alive[..]).expect("live found it");
        let (fields, bytes) = envelope::usage(record);
        let grown = used.0 > usize::from(fields) || used.1 > usize::from(bytes);
        if grown && (used.0 > usize::from(budget.fields) || used.1 > usize::from(budget.bytes)) {
            return Committed::OverBudget;
        }
        envelope::set_usage(record, saturated(used));
        if let Some(after) = touch {
            envelope::touch(record, at.now, after);
        }
        let deadline = envelope::deadline(record, at.idle);
        next.keep_until(deadline);
        let is_changed = next.fields != self.fields;
        *self = next;
        Committed::Done { answers, forwarded: alive != id, changed: is_changed }
    }

    pub(super) fn rotate(&mut self, id: Field, to: Field, mut record: Vec<u8>, at: At) -> Rotated {
        let Some(alive) = self.live(id, at) else { return Rotated::Gone };
        if alive != id {
            return Rotated::Before;
        }
        record[1..24].copy_from_slice(&self.fields[&alive[..]][1..24]);
        for (field, value) in self.drop_session(&alive) {
            self.fields.insert([&to, &field[16..]].concat(), value);
        }
        self.fields.insert(to.into(), record);
        self.leave_forward(alive, to, at);
        Rotated::Rotated
    }

    pub(super) fn destroy(&mut self, id: Field, at: At) -> Found {
        self.end(id, false, at)
    }

    pub(super) fn abandon(&mut self, id: Field, at: At) -> Found {
        self.end(id, true, at)
    }

    /// Removes a session; a forward that leads nowhere may take its place.
    fn end(&mut self, id: Field, leaves_forward: bool, at: At) -> Found {
        let Some(current) = self.current(id, at) else { return Found::Gone };
        self.drop_session(&current);
        self.fields.retain(|field, value| {
            field.len() != 16
                || envelope::forward(value).is_none_or(|forward| {
                    at.now < forward.until && (leaves_forward || forward.to != current)
                })
        });
        if leaves_forward {
            self.leave_forward(current, NOWHERE, at);
            self.keep_until(at.now.plus(FORWARD));
        }
        let ids =
            || self.fields.iter().filter(|(field, _)| field.len() == 16).map(|(_, value)| value);
        if !self.fields.contains_key(&b"e"[..])
            && ids().all(|value| envelope::forward(value).is_some())
        {
            let nowhere = ids()
                .filter_map(|value| envelope::forward(value))
                .filter(|left| left.to == NOWHERE);
            match nowhere.map(|left| left.until).max() {
                Some(last) => self.expires = last,
                None => self.fields.clear(),
            }
        }
        Found::Alive
    }

    pub(super) fn revoke_all(&mut self, keep: Option<Field>, remember: Duration, at: At) -> Found {
        let kept = match keep.map(|id| self.live(id, at)) {
            Some(None) => return Found::Gone,
            Some(alive) => alive,
            None => None,
        };
        let epoch = Epoch::new((self.epoch().get() + 1).max(at.now.as_millis()));
        let leads_to_kept: Vec<Field> = self
            .fields
            .keys()
            .filter_map(|field| field.as_slice().try_into().ok())
            .filter(|id| kept.is_some() && self.current(*id, at) == kept)
            .collect();
        self.fields.retain(|field, _| {
            field == b"u"
                || kept.is_some_and(|kept| field.starts_with(&kept))
                || leads_to_kept.iter().any(|id| field == id)
        });
        if let Some(record) = kept.and_then(|kept| self.fields.get_mut(&kept[..])) {
            envelope::set_epoch(record, epoch);
        }
        self.fields.insert(b"e".into(), epoch.get().to_be_bytes().into());
        self.keep_until(at.now.plus(remember));
        Found::Alive
    }

    /// Follows forwards from `id` to the id that has a record.
    fn current(&self, mut id: Field, at: At) -> Option<Field> {
        for _ in 0..16 {
            let bytes = self.fields.get(&id[..])?;
            match envelope::forward(bytes) {
                Some(Forward { until, to }) if at.now < until => id = to,
                Some(_) => return None,
                None => return is_record(bytes).then_some(id),
            }
        }
        None
    }

    /// Like `current`, but `None` unless the session is alive.
    fn live(&self, id: Field, at: At) -> Option<Field> {
        let current = self.current(id, at)?;
        let record = &self.fields[&current[..]];
        (envelope::epoch(record) == self.epoch() && at.now < envelope::deadline(record, at.idle))
            .then_some(current)
    }

    /// Removes dead sessions, then the oldest until at most `most` are left.
    fn trim(&mut self, at: At, most: usize) {
        let epoch = self.epoch();
        let ids = |fields: &BTreeMap<Vec<u8>, Vec<u8>>| -> Vec<Field> {
            fields.keys().filter_map(|field| field.as_slice().try_into().ok()).collect()
        };
        let mut alive = Vec::new();
        for id in ids(&self.fields) {
            let bytes = &self.fields[&id[..]];
            match envelope::forward(bytes) {
                Some(forward) if at.now < forward.until => {}
                Some(_) => drop(self.fields.remove(&id[..])),
                None if !is_record(bytes) => drop(self.fields.remove(&id[..])),
                None if at.now >= envelope::deadline(bytes, at.idle)
                    || envelope::epoch(bytes) != epoch =>
                {
                    self.drop_session(&id);
                }
                None => alive.push((envelope::created(bytes), id)),
            }
        }
        alive.sort_unstable();
        for (_, id) in alive.iter().take(alive.len().saturating_sub(most)) {
            self.drop_session(id);
        }
    }

    /// Removes the record and its data, and returns the data.
    fn drop_session(&mut self, id: &Field) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.fields.remove(&id[..]);
        // Fields are in order, so those of the session are adjacent.
        let mut own = self.fields.split_off(&id[..]);
        let behind = own.keys().find(|field| !field.starts_with(id)).cloned();
        if let Some(behind) = behind {
            self.fields.append(&mut own.split_off(&behind));
        }
        own.into_iter().collect()
    }

    fn leave_forward(&mut self, from: Field, to: Field, at: At) {
        let forward = Forward { until: at.now.plus(FORWARD), to };
        self.fields.insert(from.into(), envelope::encode_forward(&forward));
    }

    fn apply(&mut self, field: Vec<u8>, change: &FieldOp) -> Option<FieldReply> {
        Some(match change {
            FieldOp::Set(value) => {
                self.fields.insert(field, value.clone());
                FieldReply::Done
            }
            FieldOp::Remove => {
                self.fields.remove(&field);
                FieldReply::Done
            }
            FieldOp::SetIfAbsent(value) => {
                let absent = !self.fields.contains_key(&field);
                self.fields.entry(field).or_insert_with(|| value.clone());
                FieldReply::WasAbsent(absent)
            }
            FieldOp::Take => FieldReply::Taken(self.fields.remove(&field)),
            FieldOp::CompareAndSet { expected, new } => {
                let current = self.fields.get(&field);
                if current != expected.as_ref() {
                    return Some(FieldReply::Compared(Err(current.cloned())));
                }
                match new {
                    Some(new) => drop(self.fields.insert(field, new.clone())),
                    None => drop(self.fields.remove(&field)),
                }
                FieldReply::Compared(Ok(()))
            }
            FieldOp::Increment(by) => {
                let old = self.fields.get(&field).map_or(Some(0), |bytes| whole_number(bytes))?;
                let sum = exact(exact(old)? + exact(*by)?)?;
                self.fields.insert(field, sum.to_string().into());
                FieldReply::Number(sum)
            }
        })
    }

    /// Data fields of a session and the bytes of their names and values.
    fn usage(&self, id: &Field) -> (usize, usize) {
        self.fields
            .range(id.to_vec()..)
            .take_while(|(field, _)| field.starts_with(id))
            .filter(|(field, _)| field.len() > 16)
            .fold((0, 0), |(n, size), (field, value)| {
                (n + 1, size + field.len() - 16 + value.len())
            })
    }

    fn keep_until(&mut self, at: Timestamp) {
        self.expires = self.expires.max(at);
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = self.expires.as_millis().to_be_bytes().to_vec();
        for part in self.fields.iter().flat_map(|(field, value)| [field, value]) {
            bytes.extend(
                u32::try_from(part.len()).expect("budgets keep values small").to_be_bytes(),
            );
            bytes.extend(part);
        }
        bytes
    }

    /// Decodes the output of [`UserValue::encode`].
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        fn part<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
            let (len, tail) = rest.split_first_chunk()?;
            let (part, tail) = tail.split_at_checked(u32::from_be_bytes(*len) as usize)?;
            *rest = tail;
            Some(part)
        }
        let read = || {
            let (expires, mut rest) = bytes.split_first_chunk()?;
            let mut fields = BTreeMap::new();
            while !rest.is_empty() {
                fields.insert(part(&mut rest)?.to_vec(), part(&mut rest)?.to_vec());
            }
            Some(Self { expires: Timestamp::from_millis(u64::from_be_bytes(*expires)), fields })
        };
        read().ok_or_else(|| StoreError::Corrupt("a value that this crate did not write".into()))
    }
}

/// The usage, saturated at what a record can hold.
fn saturated((fields, bytes): (usize, usize)) -> (u8, u16) {
    (u8::try_from(fields).unwrap_or(u8::MAX), u16::try_from(bytes).unwrap_or(u16::MAX))
}

fn whole_number(bytes: &[u8]) -> Option<i64> {
    std::str::from_utf8(bytes).ok().filter(|text| !text.starts_with('+'))?.parse().ok()
}

fn exact(number: i64) -> Option<i64> {
    (number.unsigned_abs() < NUMBER_LIMIT).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_encoded_is_decoded() {
        let fields = BTreeMap::from([(b"e".to_vec(), vec![0; 8]), (vec![7; 16], vec![])]);
        let value = UserValue { expires: Timestamp::from_millis(9), fields };
        let bytes = value.encode();
        assert_eq!(UserValue::decode(&bytes).unwrap(), value);
        for len in 0..bytes.len() {
            let whole_parts = [8, 8 + 4 + 16 + 4].contains(&len);
            assert_eq!(UserValue::decode(&bytes[..len]).is_ok(), whole_parts, "{len}");
        }
    }

    #[test]
    fn what_stays_of_an_abandoned_session_goes_after_a_minute() {
        let at = At { now: Timestamp::from_millis(1_800_000_000_000), idle: None };
        let record = [&[1], &at.now.as_millis().to_be_bytes()[2..], &[1; 4], &[0; 13]].concat();
        let new = |field| Creation {
            field: [field; 16],
            user: None,
            record: record.clone(),
            epoch: Epoch::default(),
            replaces: None,
            max_sessions: 9,
            carry: Vec::new(),
            data: Vec::new(),
        };
        let mut value = UserValue::default();
        value.create(&new(1), at);
        value.create(&new(2), at);
        let last = value.expires;
        assert_eq!((value.abandon([1; 16], at), value.expires), (Found::Alive, last));
        assert_eq!(
            (value.destroy([2; 16], at), value.expires),
            (Found::Alive, at.now.plus(FORWARD))
        );
        assert_eq!(value.fields.len(), 1);
    }
}
