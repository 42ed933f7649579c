//! Reading, importing and exporting portfolios.

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

/// A portfolio and the requested selection.
#[derive(Debug)]
pub struct Reading {
    /// The whole portfolio.
    pub worth: Arc<Worth>,
    selection: Selection,
}

/// The selected part of a portfolio.
#[derive(Debug)]
pub struct Selected<'a> {
    /// Sums over the whole selection.
    pub totals: Totals,
    /// The number of selected holdings.
    pub holdings: usize,
    /// The page: the requested one, or the last.
    pub page: usize,
    /// The number of pages.
    pub pages: usize,
    /// The holdings on the page.
    pub on_page: Vec<Valued<'a>>,
}

/// Reads the user's portfolio at current prices.
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
    /// A digest of the selected part; it changes with the content.
    pub fn version(&self) -> [u8; 16] {
        self.worth.version(&self.selection)
    }

    /// The requested selection.
    pub fn selection(&self) -> &Selection {
        &self.selection
    }

    /// Applies the selection.
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

/// The state of an import when the caller stops waiting.
#[derive(Clone, Copy, Debug)]
pub enum Outcome {
    /// The import succeeded.
    Done(Imported),
    /// The import is still running.
    Running(Progress),
}

/// The source of an inventory.
#[derive(Debug)]
pub enum From {
    /// Steam.
    Steam,
    /// Data uploaded by the user.
    Upload(Bytes),
}

/// Imports the user's inventory and waits for the result, up to `patience`. The import continues
/// even without its caller.
///
/// # Errors
/// [`ImportError`]; the earlier holdings are unchanged.
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
    // The last state is the result, whether the import ended, timed out or died.
    let _ = tokio::time::timeout(patience, ended).await.map(|ended| ended.map(drop));
    let state = watcher.borrow().clone();
    match state {
        State::Done(imported) => Ok(Outcome::Done(imported)),
        State::Running(progress) => Ok(Outcome::Running(progress)),
        State::Failed(error) => Err(error),
    }
}

/// Streams all items of the user as a file.
///
/// # Errors
/// [`StoreError`] as for every store operation; a later failure ends the file early.
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
