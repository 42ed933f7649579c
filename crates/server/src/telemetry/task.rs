//! Runs work that a client's disconnect must not cancel.

use std::panic::resume_unwind;

use super::RequestId;

/// Runs the future to completion in a separate task, because a handler's future is dropped when the
/// client disconnects. A panic is resumed in the caller.
pub async fn run_to_completion<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> T {
    match RequestId::spawn(work).await {
        Ok(done) => done,
        // Nothing aborts the task, so it can only have panicked.
        Err(error) => resume_unwind(error.into_panic()),
    }
}
