//! Rate limits in `PostgreSQL`.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sqlx::postgres::PgQueryResult;
use sqlx::{Executor, PgPool};
use tokio::time::{Instant, timeout};
use tracera_guard::{
    RateLimit, RateLimitError, RateLimitRequest, RateLimitStore, RateLimitUsage, StoreAnswer,
};

use crate::postgres::is_lost_race;

/// The time limit of a decision.
const LIMIT: Duration = Duration::from_millis(1500);
/// Expired rows are removed once per this many admitted requests.
const SWEEP_EVERY: u32 = 16;

/// Whether the table and the function exist. A role that may not create them can still ask.
const IS_THERE: &str = "SELECT to_regclass('tracera_limits') IS NOT NULL
    AND to_regprocedure('tracera_limit_1(bytea[],bigint[],bigint,bigint)') IS NOT NULL";
/// The advisory lock keeps instances that start together from creating them twice.
const ALONE: &str = "SET LOCAL client_min_messages = warning;
    SELECT pg_advisory_xact_lock(6074881205320837493)";
const SCHEMA: &str = include_str!("limits.sql");
const REQUEST: &str = "SELECT allowed, used, oldest_age FROM tracera_limit_1($1, $2, $3, $4)";
const FORGET: &str = "DELETE FROM tracera_limits WHERE key = $1";
/// Removes more rows than are added in between, so that the table stays bounded.
const SWEEP: &str = "DELETE FROM tracera_limits WHERE key IN (
    SELECT key FROM tracera_limits WHERE expires < extract(epoch FROM clock_timestamp())::bigint
    ORDER BY expires LIMIT 128 FOR UPDATE SKIP LOCKED)";

/// Rate limits of `tracera-guard` in a `PostgreSQL` database, shared by any number of instances.
/// Cheap to clone; one serves any number of limits.
///
/// 1. A decision is one call of a function, in one round trip, by the database's clock. It is exact
///    for any number of concurrent instances.
/// 2. Requests under the same key wait for each other; others do not.
/// 3. A refused request writes nothing.
/// 4. Commits do not wait for the disk. After a power cut, requests admitted within the last second
///    may be forgotten.
/// 5. A decision fails after 1.5 s, including the wait for a connection.
/// 6. Keys are readable for everybody who may read the table. The table has a row for each key with
///    a request in its window, and some rows that expired a moment ago.
///
/// ```no_run
/// use std::time::Duration;
/// use sqlx::PgPool;
/// use tracera_guard::{ClientLimit, RateLimit, RateLimiter};
/// use tracera_session_sqlx::PostgresLimits;
///
/// # async fn run(pool: PgPool) -> Result<(), sqlx::Error> {
/// let limits = PostgresLimits::open(pool).await?;
/// let auth = RateLimit::new("auth", 20, Duration::from_secs(60));
/// let layer = ClientLimit::new(RateLimiter::in_store(auth, limits.clone()));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PostgresLimits {
    pool: PgPool,
    admitted: Arc<AtomicU32>,
}

impl PostgresLimits {
    /// Limits over this pool. Creates the table `tracera_limits` and the function `tracera_limit_1`
    /// if the search path leads to none. Afterwards `SELECT`, `INSERT`, `UPDATE` and `DELETE` on
    /// the table are enough.
    ///
    /// # Errors
    /// When the database cannot be reached, or the role may not create them.
    pub async fn open(pool: PgPool) -> Result<Self, sqlx::Error> {
        if !sqlx::query_scalar(IS_THERE).fetch_one(&pool).await? {
            let mut transaction = pool.begin().await?;
            transaction.execute(sqlx::raw_sql(ALONE)).await?;
            transaction.execute(sqlx::raw_sql(SCHEMA)).await?;
            transaction.commit().await?;
        }
        Ok(Self { pool, admitted: Arc::default() })
    }

    async fn decide(&self, request: &RateLimitRequest<'_>) -> Result<RateLimitUsage, sqlx::Error> {
        let name = request.limit().name();
        let (keys, grants): (Vec<_>, Vec<_>) = request
            .keys()
            .map(|(key, grants)| (full_key(name, &key), saturating(grants.into())))
            .unzip();
        let (allowed, used, oldest_age): (bool, i32, i64) = sqlx::query_as(REQUEST)
            .bind(keys)
            .bind(grants)
            .bind(micros(request.limit().window()))
            .bind(request.now().map(micros))
            .fetch_one(&self.pool)
            .await?;
        Ok(RateLimitUsage {
            allowed,
            used: used.unsigned_abs(),
            oldest_age: Duration::from_micros(oldest_age.unsigned_abs()),
        })
    }

    /// Runs in the background. If it fails, the next sweep removes the rows.
    fn sweep(&self) {
        let pool = self.pool.clone();
        tokio::spawn(async move {
            let swept = in_time(LIMIT, async { pool.execute(SWEEP).await });
            if let Err(error) = swept.await {
                tracing::debug!(%error, "expired rate limits were not removed");
            }
        });
    }
}

impl RateLimitStore for PostgresLimits {
    fn request<'a>(&'a self, request: &'a RateLimitRequest<'a>) -> StoreAnswer<'a, RateLimitUsage> {
        Box::pin(async move {
            let deadline = Instant::now() + LIMIT;
            loop {
                let left = deadline.saturating_duration_since(Instant::now());
                match in_time(left, self.decide(request)).await {
                    Ok(usage) => {
                        let counted = u32::from(usage.allowed);
                        let before = self.admitted.fetch_add(counted, Ordering::Relaxed);
                        if usage.allowed && before.is_multiple_of(SWEEP_EVERY) {
                            self.sweep();
                        }
                        return Ok(usage);
                    }
                    Err(error) if is_lost_race(&error) => {}
                    Err(error) => return Err(unavailable(error)),
                }
            }
        })
    }

    fn forget<'a>(&'a self, limit: RateLimit, key: &'a str) -> StoreAnswer<'a, ()> {
        Box::pin(async move {
            let query = sqlx::query(FORGET).bind(full_key(limit.name(), key));
            let forgotten: Result<PgQueryResult, _> =
                in_time(LIMIT, query.execute(&self.pool)).await;
            forgotten.map(drop).map_err(unavailable)
        })
    }
}

/// A key in the table. In bytes, because text in `PostgreSQL` cannot hold every character.
fn full_key(limit: &str, key: &str) -> Vec<u8> {
    [limit.as_bytes(), b":", key.as_bytes()].concat()
}

fn micros(duration: Duration) -> i64 {
    saturating(duration.as_micros())
}

fn saturating(number: u128) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

async fn in_time<T>(
    limit: Duration,
    operation: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    timeout(limit, operation).await.unwrap_or_else(|_| {
        Err(io::Error::new(io::ErrorKind::TimedOut, "PostgreSQL did not answer in time").into())
    })
}

fn unavailable(error: sqlx::Error) -> RateLimitError {
    RateLimitError::Unavailable(error.into())
}

impl fmt::Debug for PostgresLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PostgreSQL")
    }
}
