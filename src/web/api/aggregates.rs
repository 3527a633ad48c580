//! `POST /v1/aggregates`: ready-made rows, plain or in gzip, answered after the commit.

use std::io::Read;
use std::sync::Arc;

use axum::Json;
use axum::extract::State as Take;
use axum::extract::rejection::BytesRejection;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use bytes::Bytes;
use serde_json::json;

use super::Answer;
use crate::web::problem::Problem;
use crate::web::state::State;

pub async fn take(Take(state): Take<Arc<State>>, headers: HeaderMap, body: Result<Bytes, BytesRejection>) -> Answer {
    let is_gzip = is_gzip(&headers)?;
    let mut body = body.map_err(|rejection| Problem::new(rejection.status(), rejection.body_text()))?;
    if is_gzip {
        let max = state.config.server.body_bytes_max;
        // Tens of megabytes take a while, and others are waiting on this thread.
        let inflated = tokio::task::spawn_blocking(move || inflate(&body, max)).await;
        body = inflated.map_err(|_| Problem::bad("the body could not be read as gzip"))??;
    }
    let loaded = (state.aggregates)(body, state.clock.now()).await?;
    Ok(Json(json!(loaded)))
}

/// Whether the body says that it is in gzip; what else it may be in is refused.
fn is_gzip(headers: &HeaderMap) -> Result<bool, Problem> {
    let mut given = headers.get_all(CONTENT_ENCODING).iter();
    let (first, more) = (given.next().map_or("", |name| name.to_str().unwrap_or("?")).trim(), given.next());
    let is = |names: &[&str]| more.is_none() && names.iter().any(|name| first.eq_ignore_ascii_case(name));
    if is(&["gzip", "x-gzip"]) {
        return Ok(true);
    }
    if is(&["", "identity"]) {
        return Ok(false);
    }
    let refused = Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "rows come plain or with `content-encoding: gzip`");
    Err(refused.with(ACCEPT_ENCODING, HeaderValue::from_static("gzip")))
}

/// Undoes gzip, of one member or several; never makes more than `max` bytes of it.
fn inflate(body: &[u8], max: usize) -> Result<Bytes, Problem> {
    let mut out = Vec::new();
    match flate2::bufread::MultiGzDecoder::new(body).take(max as u64 + 1).read_to_end(&mut out) {
        Ok(_) if out.len() > max => Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the rows have more than {max} bytes"))),
        Ok(_) => Ok(Bytes::from(out)),
        Err(_) => Err(Problem::bad("the body is no whole gzip")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use axum::body::Body;
    use axum::http::Request;

    use super::*;
    use crate::web::fixture::house::{House, read};

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    /// What is answered to a body in an encoding; the fixture accepts as many rows as it is given bytes.
    async fn answer(encoding: &str, body: Vec<u8>) -> (StatusCode, String) {
        let house = House::new(false, false).await;
        let request = Request::post("/v1/aggregates").header("host", "localhost").header(CONTENT_ENCODING, encoding);
        let (status, _, said) = read(house.send(request.body(Body::from(body)).unwrap()).await).await;
        (status, said)
    }

    #[tokio::test]
    async fn rows_come_in_gzip_or_plain_and_in_nothing_else() {
        let mut two_members = gzip(&[b'x'; 1_000]);
        two_members.extend(gzip(&[b'y'; 500]));
        let (status, said) = answer("GZIP", two_members.clone()).await;
        assert!(status == StatusCode::OK && said.contains("1500"), "{status} {said}");
        let (status, said) = answer("identity", vec![b'x'; 700]).await;
        assert!(status == StatusCode::OK && said.contains("700"), "{status} {said}");
        for encoding in ["br", "deflate", "zstd", "gzip, gzip"] {
            assert_eq!(answer(encoding, two_members.clone()).await.0, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{encoding}");
        }
        two_members.truncate(two_members.len() - 12);
        for broken in [two_members, b"{}".to_vec()] {
            assert_eq!(answer("gzip", broken).await.0, StatusCode::BAD_REQUEST);
        }
    }

    #[test]
    fn a_bomb_is_let_go_at_the_bound() {
        let bomb = gzip(&vec![0; 1 << 20]);
        assert!(bomb.len() < 20_000);
        let refused = inflate(&bomb, (1 << 20) - 1).unwrap_err();
        assert_eq!(refused.status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(inflate(&bomb, 1 << 20).unwrap().len(), 1 << 20);
    }
}
