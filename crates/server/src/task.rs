//! Work that a client cannot cut short.

use crate::http::error::{AppError, AppResult};
use crate::telemetry::RequestId;

/// Does this to its end in a task of its own: the future of a handler is dropped when the client
/// hangs up.
///
/// # Errors
/// As the work; 500 when it panics.
pub(crate) async fn run_to_completion<T: Send + 'static>(
    work: impl Future<Output = AppResult<T>> + Send + 'static,
) -> AppResult<T> {
    RequestId::spawn(work).await.map_err(AppError::internal)?
}
