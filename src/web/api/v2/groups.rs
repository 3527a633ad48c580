//! `GET /api/v2/alerts/groups`: the same alerts by the labels that they are grouped by and by who is told.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State as Take;
use axum::response::Response;
use serde_json::json;

use super::super::Params;
use super::Refusal;
use super::filter::Filter;
use super::listing::{Listing, PIECE, Pipe, Place, answer, push};
use crate::domain::posted::Packed;
use crate::domain::route::grouping;
use crate::web::state::State;

/// What tells groups apart; they are listed by their labels, then by their receiver.
#[derive(PartialEq, Eq)]
struct Group {
    labels: Packed,
    receiver: Arc<str>,
}

impl Ord for Group {
    fn cmp(&self, other: &Group) -> Ordering {
        self.labels.iter().cmp(other.labels.iter()).then_with(|| self.receiver.cmp(&other.receiver))
    }
}

impl PartialOrd for Group {
    fn partial_cmp(&self, other: &Group) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Of each alert only its place, in the order of fingerprints.
type Groups = BTreeMap<Group, Vec<Place>>;

/// The handler. Groups may be many and large, so they are written piece by piece.
pub async fn list(Take(state): Take<Arc<State>>, params: Params) -> Result<Response, Refusal> {
    let (listing, found) = Listing::find(state, Filter::read(&params)?).await?;
    let mut groups = Groups::new();
    for piece in found.chunks(PIECE) {
        gather(&listing, piece, &mut groups);
        // Pages and deliveries share this thread.
        tokio::task::yield_now().await;
    }
    drop(found);
    Ok(answer(|pipe| write(listing, groups, pipe)))
}

fn gather(listing: &Listing, piece: &[(u64, Place)], groups: &mut Groups) {
    for (place, shown) in listing.shown(piece.iter().map(|(_, place)| *place)) {
        for routed in listing.view.desk.route(&shown.labels, listing.view.now) {
            let labels = grouping(routed.group_by.as_deref(), &["alertname"], &shown.labels);
            for name in routed.to {
                if listing.filter.receiver.as_ref().is_some_and(|pattern| !pattern.matches(&name)) {
                    continue;
                }
                let places = groups.entry(Group { labels: Packed::new(&labels), receiver: name.into() }).or_default();
                // Two routes may name one receiver and group alike.
                if places.last() != Some(&place) {
                    places.push(place);
                }
            }
        }
    }
}

async fn write(listing: Listing, groups: Groups, mut pipe: Pipe) -> std::io::Result<()> {
    let (mut text, mut first_group) = (b"[".to_vec(), true);
    for (group, places) in groups {
        if !std::mem::replace(&mut first_group, false) {
            text.push(b',');
        }
        text.extend_from_slice(b"{\"alerts\":[");
        let mut first = true;
        for piece in places.chunks(PIECE) {
            for (_, shown) in listing.shown(piece.iter().copied()) {
                push(&mut text, &mut first, &shown)?;
            }
            pipe.flush(&mut text).await?;
        }
        let (labels, receiver) = (json!(group.labels.labels()), json!({ "name": group.receiver }));
        text.extend_from_slice(format!("],\"labels\":{labels},\"receiver\":{receiver}}}").as_bytes());
    }
    text.push(b']');
    pipe.flush(&mut text).await
}
