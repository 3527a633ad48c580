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
    text: String,
}

static STYLE: LazyLock<Asset> = LazyLock::new(|| Asset::new("css", "text/css; charset=utf-8", include_str!("assets/burnwatch.css")));
static SCRIPT: LazyLock<Asset> = LazyLock::new(|| Asset::new("js", "text/javascript; charset=utf-8", include_str!("assets/burnwatch.js")));

impl Asset {
    fn new(extension: &str, kind: &'static str, source: &str) -> Asset {
        let text = without_comments(source);
        let hash = hex::encode(Sha256::digest(text.as_bytes()));
        Asset { name: format!("burnwatch-{}.{extension}", &hash[..16]), kind, text }
    }

    /// Where it is served.
    pub fn url(&self) -> String {
        format!("/assets/{}", self.name)
    }

    /// Its content.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// The text without lines that are comments, and without what indents its lines: neither file has a text of several lines in it.
fn without_comments(source: &str) -> String {
    let comment = |line: &str| line.starts_with("//") || (line.starts_with("/*") && line.ends_with("*/"));
    let lines: Vec<&str> = source.lines().map(str::trim).filter(|line| !line.is_empty() && !comment(line)).collect();
    lines.join("\n")
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
            return (headers, asset.text()).into_response();
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

    #[test]
    fn comments_are_for_whoever_reads_the_source() {
        assert_eq!(without_comments("/* why */\na{b:c}\n  // so\n  let a = \"//\"; // kept\n\n"), "a{b:c}\nlet a = \"//\"; // kept");
        for asset in [style(), script()] {
            assert!(!asset.text().contains("/*") && !asset.text().contains("\n//"), "{}", asset.text());
        }
    }
}
