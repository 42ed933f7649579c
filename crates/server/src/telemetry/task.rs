//! Work that a client cannot cut short.

use std::panic::resume_unwind;

use super::RequestId;

/// Does this to its end in a task of its own: the future of a handler is dropped when the client
/// hangs up. A panic goes on in the caller.
pub async fn run_to_completion<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> T {
    match RequestId::spawn(work).await {
        Ok(done) => done,
        // Nobody aborts the task, so that it can only have panicked.
        Err(error) => resume_unwind(error.into_panic()),
    }
}
