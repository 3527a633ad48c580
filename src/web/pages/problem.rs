//! What went wrong, said on a page that leads back.

use axum::http::StatusCode;
use maud::Markup;

use crate::web::frame::{Frame, problem};

/// What a person reads as the heading of a status.
pub fn heading(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => "There is no such page",
        StatusCode::FORBIDDEN => "Not allowed",
        StatusCode::TOO_MANY_REQUESTS => "Too many attempts",
        StatusCode::BAD_REQUEST => "This cannot be read",
        StatusCode::CONFLICT => "It has changed meanwhile",
        StatusCode::PAYLOAD_TOO_LARGE => "Too large",
        _ => "This page could not be made",
    }
}

/// The page without knowledge of anything else: for requests that were refused before they got anywhere.
pub fn bare(status: StatusCode, what: &str) -> Markup {
    problem(&Frame::default(), heading(status), what, "", None)
}
