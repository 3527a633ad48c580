//! The stylesheet and the script, compiled into the binary and served under a hash of their content.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

/// A file that never changes under its name.
pub struct Asset {
    name: String,
    kind: &'static str,
    text: &'static str,
}

static STYLE: LazyLock<Asset> = LazyLock::new(|| Asset::new("css", "text/css; charset=utf-8", include_str!("assets/burnwatch.css")));
static SCRIPT: LazyLock<Asset> = LazyLock::new(|| Asset::new("js", "text/javascript; charset=utf-8", include_str!("assets/burnwatch.js")));

impl Asset {
    fn new(extension: &str, kind: &'static str, text: &'static str) -> Asset {
        let hash = hex::encode(Sha256::digest(text.as_bytes()));
        Asset { name: format!("burnwatch-{}.{extension}", &hash[..16]), kind, text }
    }

    /// Where it is served.
    pub fn url(&self) -> String {
        format!("/assets/{}", self.name)
    }

    /// Its content.
    pub const fn text(&self) -> &'static str {
        self.text
    }
}

/// The one stylesheet.
pub fn style() -> &'static Asset {
    &STYLE
}

/// The one script.
pub fn script() -> &'static Asset {
    &SCRIPT
}

/// `GET /assets/{name}`: the content for its exact name, to be kept for ever.
pub async fn serve(Path(name): Path<String>) -> Response {
    for asset in [style(), script()] {
        if asset.name == name {
            let headers = [
                (header::CONTENT_TYPE, HeaderValue::from_static(asset.kind)),
                (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable")),
            ];
            return (headers, asset.text).into_response();
        }
    }
    StatusCode::NOT_FOUND.into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_is_small_and_names_follow_the_content() {
        assert!(script().text().len() <= 8 * 1024, "{}", script().text().len());
        assert!(style().url().starts_with("/assets/burnwatch-") && style().url().ends_with(".css"));
        assert_ne!(style().url(), script().url());
    }
}
