//! `GET /api/v2/alerts`: alerts of others and our own, with who is told and what mutes them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Take;
use axum::response::{IntoResponse, Response};

use super::super::Params;
use super::Refusal;
use super::filter::Filter;
use super::listing::{Listing, PIECE, Pipe, Place, answer, push};
use super::view::Shown;
use crate::web::state::State;

/// The handler: the alerts in the order of their fingerprints.
pub async fn list(Take(state): Take<Arc<State>>, params: Params) -> Result<Response, Refusal> {
    let (listing, found) = Listing::find(state, Filter::read(&params)?).await?;
    if found.len() <= PIECE {
        let shown: Vec<Shown> = listing.shown(found.iter().map(|(_, place)| *place)).into_iter().map(|(_, shown)| shown).collect();
        return Ok(Json(shown).into_response());
    }
    Ok(answer(|pipe| write(listing, found, pipe)))
}

async fn write(listing: Listing, found: Vec<(u64, Place)>, mut pipe: Pipe) -> std::io::Result<()> {
    let (mut text, mut first) = (b"[".to_vec(), true);
    for piece in found.chunks(PIECE) {
        for (_, shown) in listing.shown(piece.iter().map(|(_, place)| *place)) {
            push(&mut text, &mut first, &shown)?;
        }
        pipe.flush(&mut text).await?;
    }
    text.push(b']');
    pipe.flush(&mut text).await
}
