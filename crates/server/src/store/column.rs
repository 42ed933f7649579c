//! Encodings of values in columns.
//!
//! `SQLite` has no type for times: they are RFC 3339 text there and compared as text. Text sorts by
//! time only if all texts have one form. So every time is in UTC and cut to whole seconds (`…:00Z`
//! would sort after `…:00.5Z`). `PostgreSQL` gets the same values. Cutting can end a link's life up
//! to a second early, never late.

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::{Encode, Type};
use time::{OffsetDateTime, UtcOffset};

use super::StoreError;
use crate::domain::email::Email;
use crate::domain::provider::Provider;

/// A time as it is stored: UTC, whole seconds. The only way a time gets into a query.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timestamp(OffsetDateTime);

impl From<OffsetDateTime> for Timestamp {
    fn from(time: OffsetDateTime) -> Self {
        Self(time.to_offset(UtcOffset::UTC).truncate_to_second())
    }
}

impl<DB: sqlx::Database> Type<DB> for Timestamp
where
    OffsetDateTime: Type<DB>,
{
    fn type_info() -> DB::TypeInfo {
        OffsetDateTime::type_info()
    }

    fn compatible(ty: &DB::TypeInfo) -> bool {
        OffsetDateTime::compatible(ty)
    }
}

impl<'q, DB: sqlx::Database> Encode<'q, DB> for Timestamp
where
    OffsetDateTime: Encode<'q, DB>,
{
    fn encode_by_ref(&self, buf: &mut DB::ArgumentBuffer) -> Result<IsNull, BoxDynError> {
        self.0.encode_by_ref(buf)
    }
}

/// Stores a value as text. It is parsed again when read, so that a row written by other means
/// cannot bring in an invalid value. `$parse` returns a `Result` or an `Option`.
macro_rules! text_column {
    ($name:ty, $parse:expr) => {
        impl<DB: sqlx::Database> sqlx::Type<DB> for $name
        where
            str: sqlx::Type<DB>,
        {
            fn type_info() -> DB::TypeInfo {
                <str as sqlx::Type<DB>>::type_info()
            }

            fn compatible(ty: &DB::TypeInfo) -> bool {
                <str as sqlx::Type<DB>>::compatible(ty)
            }
        }

        impl<'q, DB: sqlx::Database> sqlx::Encode<'q, DB> for $name
        where
            String: sqlx::Encode<'q, DB>,
        {
            fn encode_by_ref(
                &self,
                buf: &mut DB::ArgumentBuffer,
            ) -> Result<sqlx::encode::IsNull, sqlx::error::BoxDynError> {
                sqlx::Encode::<DB>::encode(self.as_str().to_owned(), buf)
            }
        }

        impl<'r, DB: sqlx::Database> sqlx::Decode<'r, DB> for $name
        where
            &'r str: sqlx::Decode<'r, DB>,
        {
            fn decode(value: DB::ValueRef<'r>) -> Result<Self, sqlx::error::BoxDynError> {
                let text = <&str as sqlx::Decode<DB>>::decode(value)?;
                $parse(text).ok_or_else(|| concat!("no ", stringify!($name)).into())
            }
        }
    };
}

/// Decodes a struct from columns that have the names of its fields, on both databases.
///
/// The derive macro of sqlx does the same, but makes the build compile both drivers and `SQLite` a
/// second time.
macro_rules! from_row {
    ($name:ident { $($field:ident),+ $(,)? }) => {
        $crate::store::column::from_row!(@ sqlx::sqlite::SqliteRow, $name { $($field),+ });
        $crate::store::column::from_row!(@ sqlx::postgres::PgRow, $name { $($field),+ });
    };
    (@ $row:ty, $name:ident { $($field:ident),+ }) => {
        impl sqlx::FromRow<'_, $row> for $name {
            fn from_row(row: &$row) -> Result<Self, sqlx::Error> {
                Ok(Self { $($field: sqlx::Row::try_get(row, stringify!($field))?),+ })
            }
        }
    };
}

pub(super) use {from_row, text_column};

text_column!(Email, |text| Email::parse(text).ok());
text_column!(Provider, Provider::parse);

/// A 32-byte hash from a column; the tables check its length.
pub(super) fn hash_of(bytes: Vec<u8>) -> Result<[u8; 32], StoreError> {
    let length = bytes.len();
    bytes
        .try_into()
        .map_err(|_| sqlx::Error::Decode(format!("a hash of {length} bytes").into()).into())
}
