#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![warn(missing_docs, missing_debug_implementations, clippy::missing_errors_doc)]

#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod compare_and_set;
#[cfg(feature = "rate-limit")]
mod limits;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

#[cfg(feature = "rate-limit")]
pub use limits::PostgresLimits;
#[cfg(feature = "postgres")]
pub use postgres::PostgresStore;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteStore;
pub use sqlx;
