//! How values stand in columns.
//!
//! `SQLite` has no type for times: they are RFC 3339 text there and compared as text. That order is
//! the order of time only if all texts have one form, so every time is written in UTC and cut to
//! whole seconds (with a fraction, `…:00Z` sorts after `…:00.5Z`). `PostgreSQL` gets the same
//! values. Cutting can end a link's life up to a second early, never late.

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::{Decode, Encode, Type};
use time::{OffsetDateTime, UtcOffset};

use super::StoreError;
use crate::domain::email::Email;

/// A time as it is stored: UTC, whole seconds. The only way a time gets into a query.
#[derive(Clone, Copy, Debug, sqlx::Type)]
#[sqlx(transparent)]
pub(super) struct Timestamp(OffsetDateTime);

impl From<OffsetDateTime> for Timestamp {
    fn from(time: OffsetDateTime) -> Self {
        Self(time.to_offset(UtcOffset::UTC).truncate_to_second())
    }
}

/// Addresses are text, parsed again when read: a row from elsewhere cannot smuggle a bad one in.
impl<DB: sqlx::Database> Type<DB> for Email
where
    str: Type<DB>,
{
    fn type_info() -> DB::TypeInfo {
        <str as Type<DB>>::type_info()
    }

    fn compatible(ty: &DB::TypeInfo) -> bool {
        <str as Type<DB>>::compatible(ty)
    }
}

impl<'q, DB: sqlx::Database> Encode<'q, DB> for Email
where
    String: Encode<'q, DB>,
{
    fn encode_by_ref(&self, buf: &mut DB::ArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Encode::<DB>::encode(self.as_str().to_owned(), buf)
    }
}

impl<'r, DB: sqlx::Database> Decode<'r, DB> for Email
where
    &'r str: Decode<'r, DB>,
{
    fn decode(value: DB::ValueRef<'r>) -> Result<Self, BoxDynError> {
        Ok(Self::parse(<&str as Decode<DB>>::decode(value)?)?)
    }
}

/// A hash as it is read back; the tables check its length.
pub(super) fn hash_of(bytes: Vec<u8>) -> Result<[u8; 32], StoreError> {
    let length = bytes.len();
    bytes
        .try_into()
        .map_err(|_| sqlx::Error::Decode(format!("a hash of {length} bytes").into()).into())
}
