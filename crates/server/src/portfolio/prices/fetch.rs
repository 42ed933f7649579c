//! Streams a feed from a file or over HTTP into the parser.

use std::io::{self, BufRead, Read};
use std::path::Path;
use std::time::Duration;

use bytes::{Buf, Bytes};
use flate2::bufread::MultiGzDecoder;
use http::StatusCode;
use reqwest::redirect::{Attempt, Policy};
use tokio::sync::mpsc;

use crate::config::{PriceFeed, PriceSettings};
use crate::portfolio::feeds::{self, FeedError};
use crate::portfolio::price_list::PriceList;
use crate::portfolio::steam_client::retry_after;
use crate::telemetry::trace;
use crate::{error_chain, http_client};

/// Time limit for a whole feed.
const TOTAL_LIMIT: Duration = Duration::from_mins(2);
/// Time limit between two chunks.
const READ_LIMIT: Duration = Duration::from_secs(15);
const GZIP: &[u8] = &[0x1f, 0x8b];
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
const MAX_REDIRECTS: usize = 5;
/// Number of chunks buffered between the connection and the parser.
const PIECES: usize = 4;

/// The path of CSFloat's price list.
const CSFLOAT_LIST: &str = "/api/v1/listings/price-list";

/// Fetches feeds within bounds.
#[derive(Debug)]
pub(super) struct Fetcher {
    http: reqwest::Client,
    max_bytes: u64,
}

impl Fetcher {
    pub(super) fn new(settings: &PriceSettings) -> Result<Self, reqwest::Error> {
        let http = http_client::builder(TOTAL_LIMIT)
            .read_timeout(READ_LIMIT)
            .redirect(Policy::custom(|to| if is_near(&to) { to.follow() } else { to.stop() }))
            .build()?;
        Ok(Self { http, max_bytes: settings.max_feed_bytes })
    }

    pub(super) async fn read(
        &self,
        feed: &PriceFeed,
        currency: &str,
    ) -> Result<(PriceList, usize), FeedError> {
        match feed {
            PriceFeed::File(path) => self.read_file(path, currency).await,
            PriceFeed::Http(url) => {
                let (mut list, skipped) = self.read_http(url.expose(), currency).await?;
                if url.expose().ends_with(CSFLOAT_LIST) {
                    self.add_phases(&mut list, url.expose(), currency).await;
                }
                Ok((list, skipped))
            }
        }
    }

    /// CSFloat has a separate list of prices for Doppler phases. If it fails, phases fall back to
    /// the prices of their names.
    async fn add_phases(&self, list: &mut PriceList, url: &str, currency: &str) {
        match self.read_http(&format!("{url}/doppler"), currency).await {
            Ok((phases, _)) => list.merge(phases),
            Err(error) => tracing::warn!(%error, "the feed's prices of phases were not used"),
        }
    }

    async fn read_file(
        &self,
        path: &Path,
        currency: &str,
    ) -> Result<(PriceList, usize), FeedError> {
        let (path, currency, max_bytes) = (path.to_owned(), currency.to_owned(), self.max_bytes);
        parse(move || {
            let file = std::fs::File::open(path)
                .map_err(|error| FeedError::Io(error.kind().to_string()))?;
            feeds::read(plain(file, max_bytes)?, &currency)
        })
        .await
    }

    async fn read_http(&self, url: &str, currency: &str) -> Result<(PriceList, usize), FeedError> {
        let request = self.http.get(url).header(http::header::ACCEPT, "application/json");
        let mut response = trace::send(request)
            .await
            .map_err(|error| FeedError::Io(error_chain::of_request(error)))?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::TOO_MANY_REQUESTS => {
                return Err(FeedError::Throttled(retry_after(response.headers())));
            }
            status => return Err(FeedError::Status(status.as_u16())),
        }
        let (pieces, receiver) = mpsc::channel(PIECES);
        let (currency, left) = (currency.to_owned(), self.max_bytes);
        let parsing = parse(move || {
            let pieces = Pieces { receiver, current: Bytes::new() };
            feeds::read(plain(pieces, left)?, &currency)
        });
        let sending = async {
            loop {
                let piece = match response.chunk().await {
                    Ok(None) => break,
                    Ok(Some(piece)) => Ok(piece),
                    Err(error) => Err(io::Error::other(error_chain::of_request(error))),
                };
                let failed = piece.is_err();
                // The parser stops receiving when it has enough.
                if pieces.send(piece).await.is_err() || failed {
                    break;
                }
            }
            drop(pieces);
        };
        tokio::join!(parsing, sending).0
    }
}

/// Whether a redirect stays on the same origin, and the chain is short.
fn is_near(to: &Attempt<'_>) -> bool {
    let from = to.previous().last();
    to.previous().len() <= MAX_REDIRECTS
        && from.is_some_and(|from| from.origin() == to.url().origin())
}

async fn parse(
    work: impl FnOnce() -> Result<(PriceList, usize), FeedError> + Send + 'static,
) -> Result<(PriceList, usize), FeedError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(FeedError::Io("the parser ended early".into())))
}

/// The chunks of a body, for a parser on another thread.
struct Pieces {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.receiver.blocking_recv() {
                Some(piece) => self.current = piece?,
                None => return Ok(0),
            }
        }
        let count = self.current.len().min(into.len());
        self.current.copy_to_slice(&mut into[..count]);
        Ok(count)
    }
}

/// The feed's content, limited to `max_bytes`: decompressed if it is gzip, without a byte order
/// mark.
fn plain(packed: impl Read + 'static, max_bytes: u64) -> Result<impl Read, FeedError> {
    let failed = |error: io::Error| FeedError::Io(error.kind().to_string());
    let mut packed = io::BufReader::new(Bounded { inner: packed, left: max_bytes });
    let is_gzip = packed.fill_buf().map_err(failed)?.starts_with(GZIP);
    let text: Box<dyn Read> =
        if is_gzip { Box::new(MultiGzDecoder::new(packed)) } else { Box::new(packed) };
    let mut text = io::BufReader::new(Bounded { inner: text, left: max_bytes });
    if text.fill_buf().map_err(failed)?.starts_with(BYTE_ORDER_MARK) {
        text.consume(BYTE_ORDER_MARK.len());
    }
    Ok(text)
}

/// A reader that fails, rather than ends, after a number of bytes.
struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(into)?;
        self.left = self.left.checked_sub(count as u64).ok_or(io::ErrorKind::FileTooLarge)?;
        Ok(count)
    }
}
