//! One HTTP call to a receiver: no redirects, a checked address, a bounded answer.

use std::error::Error as _;
use std::sync::Arc;

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::Method;
use serde_json::Value;

use crate::domain::time::Timestamp;

use super::address::{Guard, NotAllowed};
use super::escape;
use super::outcome::{SendError, Trouble};

/// How much of an answer is read.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// How long a body may still come after a status that already says that the message was taken.
const TAIL: std::time::Duration = std::time::Duration::from_millis(500);
/// Headers that say how the message is framed or where it goes; a rule cannot set them.
const OURS: [&str; 7] = ["host", "content-length", "transfer-encoding", "connection", "te", "upgrade", "expect"];

/// The client that all receivers share.
#[derive(Clone, Debug)]
pub struct Http {
    client: reqwest::Client,
    guard: Guard,
}

/// A client for addresses that the operator's own configuration names: no redirects, no proxy.
pub fn plain_client() -> Result<reqwest::Client, ClientError> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().user_agent(concat!("burnwatch/", env!("CARGO_PKG_VERSION")));
    client.redirect(reqwest::redirect::Policy::none()).referer(false).no_proxy().build().map_err(ClientError)
}

/// What is sent.
pub struct Call {
    pub method: Method,
    pub url: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    /// At most 64 KiB.
    pub body: Vec<u8>,
}

/// The client could not be built.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up the HTTP client for receivers; are the system's CA certificates installed")]
pub struct ClientError(#[source] reqwest::Error);

impl Http {
    /// A client that reaches only what `guard` lets pass.
    pub fn new(guard: Guard) -> Result<Http, ClientError> {
        // An error says that another part of the process was first, with the same provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .user_agent(concat!("burnwatch/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            // A proxy of the environment would connect in our place, and its address is not the receiver's.
            .no_proxy()
            .dns_resolver(Arc::new(guard.clone()))
            .connect_timeout(std::time::Duration::from_secs(10))
            // As many as one receiver's calls at once, or they would be closed and opened again all the time.
            .pool_max_idle_per_host(64)
            .pool_idle_timeout(std::time::Duration::from_secs(60))
            .tcp_nodelay(true)
            .build()
            .map_err(ClientError)?;
        Ok(Http { client, guard })
    }

    /// Sends and reads the answer, whatever its status. The caller sets the deadline.
    pub async fn call(&self, call: Call) -> Result<Answer, SendError> {
        let url = url::Url::parse(&call.url)
            .map_err(|error| SendError::new(Trouble::Settings, format!("the receiver's URL cannot be read: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(SendError::new(
                Trouble::Settings,
                format!("the receiver's URL begins with `{}:`; use https", escape::clean(url.scheme(), 20)),
            ));
        }
        self.guard.check_literal(&url).map_err(|error| SendError::new(Trouble::NotAllowed, error.to_string()))?;
        let request = self.client.request(call.method, url).headers(call.headers).body(call.body);
        let mut response = request.send().await.map_err(failed)?;
        let status = response.status().as_u16();
        let headers = std::mem::take(response.headers_mut());
        let taken = (200..300).contains(&status);
        let mut body = Vec::new();
        let read = async {
            while let Some(chunk) = response.chunk().await? {
                let room = BODY_BYTES_MAX - body.len();
                body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                if body.len() == BODY_BYTES_MAX {
                    break;
                }
            }
            Ok::<(), reqwest::Error>(())
        };
        // The status decides. A body that drips, breaks off or never ends changes nothing about it; who
        // needs the body finds out when reading it.
        let limit = if taken { TAIL * 4 } else { TAIL };
        let _ = tokio::time::timeout(limit, read).await;
        Ok(Answer { status, headers, body })
    }
}

impl Answer {
    /// The answer if it is a success, else what it means.
    pub fn success(self, now: Timestamp) -> Result<Answer, SendError> {
        if (200..300).contains(&self.status) { Ok(self) } else { Err(SendError::status(self.status, &self.headers, &self.body, now)) }
    }

    /// The body as JSON.
    pub fn json(&self) -> Result<Value, SendError> {
        serde_json::from_slice(&self.body).map_err(|_| {
            let said = super::outcome::excerpt(&self.body);
            SendError::answered(
                Trouble::Unreadable,
                self.status,
                None,
                format!("answered {} with something that is no JSON: {said}", self.status),
            )
        })
    }
}

/// Puts a path behind a base URL.
pub fn join(base: &str, path: &str) -> String {
    format!("{}{path}", base.trim_end_matches('/'))
}

/// One part of a path or query, percent-encoded.
pub fn part(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

/// Headers for a JSON body.
pub fn json_headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers
}

/// Adds a header from rules or with a secret in it; its value never shows in logs.
pub fn set_header(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), SendError> {
    let bad = |what: &str| SendError::new(Trouble::Settings, format!("header `{}` {what}", escape::clean(name, 100)));
    let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad("has a name that HTTP does not allow"))?;
    if OURS.contains(&key.as_str()) {
        return Err(bad("is set by burnwatch; take it out of the receiver"));
    }
    let mut value = HeaderValue::from_str(value).map_err(|_| bad("has a value that HTTP does not allow"))?;
    value.set_sensitive(true);
    headers.insert(key, value);
    Ok(())
}

/// What a failed call means. The URL is left out of the text: it may hold a secret.
fn failed(error: reqwest::Error) -> SendError {
    let error = error.without_url();
    let mut chain = Vec::new();
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(refused) = cause.downcast_ref::<NotAllowed>() {
            return SendError::new(Trouble::NotAllowed, refused.to_string());
        }
        chain.push(cause.to_string());
        source = cause.source();
    }
    if error.is_timeout() {
        return SendError::new(Trouble::Deadline, "no connection in time");
    }
    if error.is_builder() {
        return SendError::new(Trouble::Settings, format!("the request cannot be built: {}", escape::clean(&chain.join(": "), 300)));
    }
    let what = if error.is_connect() { "cannot connect" } else { "the connection broke" };
    SendError::new(Trouble::Network, format!("{what}: {}", escape::clean(&chain.join(": "), 500)))
}
