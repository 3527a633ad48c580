//! The admin side: API and pages.
//!
//! [`router`] is all that the daemon serves on `server.listen`; everything that it reads and calls
//! stands in [`State`]. Pages are pure functions from models to markup (`pages/`), their handlers
//! read what they need (`site/`), and every request passes `guard` first.

pub mod answer;
pub mod api;
pub mod asset;
pub mod callback;
pub mod chart;
#[cfg(test)]
mod fixture;
pub mod frame;
pub mod guard;
pub mod icon;
pub mod inbox;
pub mod live;
pub mod number;
pub mod pages;
pub mod problem;
pub mod query;
pub mod reads;
pub mod remembered;
pub mod session;
pub mod site;
pub mod state;
pub mod text;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::get;

pub use state::State;

/// The whole admin side. Serve it with connect info, so that failed sign-ins are counted by address.
pub fn router(state: Arc<State>) -> Router {
    Router::new()
        .merge(api::router(&state))
        .merge(site::router(&state))
        .route("/events", get(live::events))
        .route("/assets/{name}", get(asset::serve))
        .fallback(site::missing)
        .method_not_allowed_fallback(site::wrong_method)
        .layer(from_fn_with_state(state.clone(), guard::guard))
        .with_state(state)
}
