//! A list of alerts while it is made: keys first, then piece by piece into the answer, so that a list of a hundred
//! thousand alerts is never held whole.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio_util::io::ReaderStream;
use tracing::debug;

use super::Refusal;
use super::filter::Filter;
use super::view::{Shown, View};
use crate::domain::posted::{Key, Posted};
use crate::web::state::State;

/// So many alerts are looked up and written at once.
pub const PIECE: usize = 256;
const PIPE_BYTES: usize = 64 * 1024;
/// A reader that takes nothing for so long is let go.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Where an alert is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Own(usize),
    Board(Key),
}

/// The alerts that meet the matchers of a filter.
pub struct Listing {
    state: Arc<State>,
    pub view: View,
    pub filter: Filter,
    own: Vec<Posted>,
}

impl Listing {
    /// A listing, and the places of what meets its matchers with their fingerprints, by which they are sorted.
    pub async fn find(state: Arc<State>, filter: Filter) -> Result<(Listing, Vec<(u64, Place)>), Refusal> {
        let view = View::new(&state).await?;
        let own = view.own(&state, &filter.matchers);
        let mut found: Vec<(u64, Place)> = own.iter().enumerate().map(|(at, alert)| (alert.labels.fingerprint(), Place::Own(at))).collect();
        state.alerts.look(&mut |board| {
            let on = board.entries().filter(|(_, entry)| !entry.alert.is_over(view.now));
            let on = on.filter(|(_, entry)| entry.alert.labels.matches(&filter.matchers));
            found.extend(on.map(|(key, entry)| (entry.alert.labels.fingerprint(), Place::Board(*key))));
        });
        found.sort_unstable_by_key(|(fingerprint, _)| *fingerprint);
        Ok((Listing { state, view, filter, own }, found))
    }

    /// Those of these places that the filter shows. What has ended since is left out.
    pub fn shown(&self, places: impl Iterator<Item = Place>) -> Vec<(Place, Shown)> {
        let mut alerts: Vec<(Place, Posted)> = Vec::with_capacity(PIECE);
        let mut places = Some(places);
        self.state.alerts.look(&mut |board| {
            for place in places.take().into_iter().flatten() {
                let alert = match place {
                    Place::Own(at) => self.own.get(at),
                    Place::Board(key) => board.get(&key).map(|entry| &entry.alert),
                };
                alerts.extend(alert.map(|alert| (place, alert.clone())));
            }
        });
        alerts.iter().filter_map(|(place, alert)| Some((*place, self.view.show(alert, &self.filter)?))).collect()
    }
}

/// The writing end of an answer.
pub struct Pipe(DuplexStream);

impl Pipe {
    /// Passes on what is written so far.
    pub async fn flush(&mut self, text: &mut Vec<u8>) -> std::io::Result<()> {
        tokio::time::timeout(WRITE_TIMEOUT, self.0.write_all(text)).await??;
        text.clear();
        // Pages and deliveries share this thread.
        tokio::task::yield_now().await;
        Ok(())
    }
}

/// An answer of JSON that is written while it is read.
pub fn answer<W>(write: impl FnOnce(Pipe) -> W) -> Response
where
    W: Future<Output = std::io::Result<()>> + Send + 'static,
{
    let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
    let written = write(Pipe(ours));
    tokio::spawn(async move {
        // A reader that is gone, or that takes nothing, gets a list without its end: no JSON.
        if let Err(error) = written.await {
            debug!(%error, "a list of alerts was not read to its end");
        }
    });
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    ([kind], Body::from_stream(ReaderStream::new(theirs))).into_response()
}

/// Adds a value to a list that is being written.
pub fn push<T: serde::Serialize>(text: &mut Vec<u8>, first: &mut bool, value: &T) -> std::io::Result<()> {
    if !std::mem::replace(first, false) {
        text.push(b',');
    }
    serde_json::to_writer(text, value)?;
    Ok(())
}
