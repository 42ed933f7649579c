//! The portfolio: read it, import it, see its history, take it along.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, future, stream};
use tokio::sync::watch;
use uuid::Uuid;

use crate::portfolio::Portfolio;
use crate::portfolio::export::{self, ExportError, Format};
use crate::portfolio::import::{ImportError, Imported, State};
use crate::portfolio::progress::Progress;
use crate::portfolio::selection::Selection;
use crate::portfolio::valuation::{Totals, Valued, total};
use crate::portfolio::worth::Worth;
use crate::store::StoreError;
use crate::telemetry::task::run_to_completion;

/// A portfolio and what of it is wanted.
#[derive(Debug)]
pub struct Reading {
    /// All of it.
    pub worth: Arc<Worth>,
    selection: Selection,
}

/// A request for a part of a portfolio.
#[derive(Debug)]
pub struct Selected<'a> {
    /// Sums over all that is selected.
    pub totals: Totals,
    /// How many different items are.
    pub holdings: usize,
    /// The page that is shown: the wanted one, or the last there is.
    pub page: usize,
    /// How many there are.
    pub pages: usize,
    /// What stands on it.
    pub on_page: Vec<Valued<'a>>,
}

/// Reads the user's portfolio at the prices in force.
///
/// # Errors
/// [`StoreError`] as for every store operation.
pub async fn read(
    portfolio: &Portfolio,
    user: Uuid,
    selection: Selection,
) -> Result<Reading, StoreError> {
    Ok(Reading { worth: portfolio.worth(user).await?, selection })
}

impl Reading {
    /// A digest of the shown part; it changes with the content.
    pub fn version(&self) -> [u8; 16] {
        self.worth.version(&self.selection)
    }

    /// What is wanted of it.
    pub fn selection(&self) -> &Selection {
        &self.selection
    }

    /// What of it is wanted.
    pub fn selected(&self) -> Selected<'_> {
        let chosen = self.selection.choose(&self.worth);
        let pages = self.selection.pages(chosen.len());
        let page = self.selection.page().min(pages);
        Selected {
            totals: total(&chosen),
            holdings: chosen.len(),
            page,
            pages,
            on_page: self.selection.on_page(page, &chosen).to_vec(),
        }
    }
}

/// What became of an import in the time a caller waits.
#[derive(Clone, Copy, Debug)]
pub enum Outcome {
    /// It is done.
    Done(Imported),
    /// It goes on.
    Running(Progress),
}

/// Where an import gets the inventory from.
#[derive(Debug)]
pub enum From {
    /// Steam.
    Steam,
    /// What the user uploaded.
    Upload(Bytes),
}

/// Imports the user's inventory and waits for that, but not longer than `patience`. The import
/// continues in any case, also without its caller.
///
/// # Errors
/// [`ImportError`]: the earlier holdings are unchanged.
pub async fn import(
    portfolio: &Portfolio,
    user: Uuid,
    from: From,
    patience: Duration,
) -> Result<Outcome, Arc<ImportError>> {
    let portfolio = portfolio.clone();
    let begun = run_to_completion(async move {
        match from {
            From::Steam => portfolio.import(user).await,
            From::Upload(body) => portfolio.upload(user, body).await,
        }
    });
    let mut watcher: watch::Receiver<State> = begun.await.map_err(Arc::new)?;
    let ended = watcher.wait_for(|state| !matches!(state, State::Running(_)));
    // Whether it ended, timed out or died, its last state is the answer.
    let _ = tokio::time::timeout(patience, ended).await.map(|ended| ended.map(drop));
    let state = watcher.borrow().clone();
    match state {
        State::Done(imported) => Ok(Outcome::Done(imported)),
        State::Running(progress) => Ok(Outcome::Running(progress)),
        State::Failed(error) => Err(error),
    }
}

/// Everything the user holds, item by item, as the pieces of a file.
///
/// # Errors
/// [`StoreError`] as for every store operation; a failure later ends the file early.
pub async fn export(
    portfolio: &Portfolio,
    user: Uuid,
    format: Format,
) -> Result<impl Stream<Item = Result<Bytes, ExportError>> + use<>, StoreError> {
    Ok(match portfolio.summary(user).await? {
        Some(held) => export::rows(portfolio.clone(), user, held.import_id, format).left_stream(),
        None => {
            let empty = Bytes::from_static(export::empty(format).as_bytes());
            stream::once(future::ready(Ok(empty))).right_stream()
        }
    })
}
