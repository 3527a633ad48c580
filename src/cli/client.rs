//! The daemon's HTTP interface, as seen by the client commands.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use url::Url;

use super::exit::{Failure, Outcome};
use super::output;
use crate::config::{Config, Environment, Secret};

/// A longer answer is not one of burnwatch's.
const BODY_BYTES_MAX: usize = 64 << 20;

/// A table stops after so many pages and says so; a program follows the cursor itself.
const PAGES_MAX: usize = 50;

/// Speaks to one daemon.
pub struct Client {
    http: reqwest::Client,
    base: Url,
    token: Option<Secret>,
}

/// An answer: the text for `--json`, its value for everything else.
pub struct Body {
    /// The body as it came.
    pub text: String,
    /// The same, read; null when there was no body.
    pub json: Value,
}

impl Body {
    /// Prints the body as it came.
    pub fn print(&self) -> Outcome {
        output::say(&output::inert(&self.text))
    }
}

impl Client {
    /// A client for the daemon at `server.public_url`, with the token of `BURNWATCH_TOKEN`.
    pub fn new(config: &Config, environment: &Environment) -> Result<Client, Failure> {
        let base = config.server.public_url.clone();
        let mut builder = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .timeout(Duration::from_secs(60))
            // A token must not travel to wherever a redirect points.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("burnwatch/", env!("CARGO_PKG_VERSION")));
        let local = match base.host() {
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            Some(url::Host::Domain(name)) => name == "localhost",
            None => false,
        };
        if local {
            builder = builder.no_proxy();
        }
        let http = builder.build().context("cannot set up the HTTP client").map_err(Failure::cannot)?;
        let token = environment.get("BURNWATCH_TOKEN").map(str::trim).filter(|token| !token.is_empty());
        if token.is_some_and(|token| !token.bytes().all(|b| b.is_ascii_graphic())) {
            return Err(Failure::usage(anyhow!("BURNWATCH_TOKEN has characters that no token has; copy it again")));
        }
        Ok(Client { http, base, token: token.map(Secret::new) })
    }

    /// Asks.
    pub async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Body, Failure> {
        self.send(Method::GET, path, query, None).await
    }

    /// Changes something, or asks a question that does not fit into a URL.
    pub async fn post(&self, path: &[&str], body: &Value) -> Result<Body, Failure> {
        self.send(Method::POST, path, &[], Some(body)).await
    }

    /// Ends something.
    pub async fn delete(&self, path: &[&str]) -> Result<Body, Failure> {
        self.send(Method::DELETE, path, &[], None).await
    }

    /// All items of a list, page by page; the second value is false when there are more than a table can bear.
    pub async fn items(&self, path: &[&str], query: &[(&str, &str)]) -> Result<(Vec<Value>, bool), Failure> {
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let mut query = query.to_vec();
            if let Some(cursor) = &cursor {
                query.push(("cursor", cursor));
            }
            let mut body = self.get(path, &query).await?;
            match body.json.get_mut("items").map(Value::take) {
                Some(Value::Array(page)) => items.extend(page),
                _ => return Err(self.foreign("a list without `items`")),
            }
            match body.json.get("next").and_then(Value::as_str) {
                Some(next) if cursor.as_deref() != Some(next) => cursor = Some(next.to_owned()),
                Some(_) | None => return Ok((items, true)),
            }
        }
        Ok((items, false))
    }

    fn url(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Url, Failure> {
        let mut url = self.base.clone();
        match url.path_segments_mut() {
            Ok(mut segments) => {
                segments.pop_if_empty().extend(path);
            }
            Err(()) => return Err(Failure::usage(anyhow!("server.public_url `{}` cannot hold a path", self.base))),
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }

    async fn send(&self, method: Method, path: &[&str], query: &[(&str, &str)], body: Option<&Value>) -> Result<Body, Failure> {
        // `.` and `..` would be resolved away and address something else.
        if path.iter().any(|segment| segment.is_empty() || *segment == "." || *segment == "..") {
            return Err(Failure::not_fine(anyhow!("an empty name, `.` and `..` name nothing")));
        }
        let url = self.url(path, query)?;
        let mut request = self.http.request(method, url).header("accept", "application/json");
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose());
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let mut response = request.send().await.map_err(|error| self.unreachable(error))?;
        let status = response.status();
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(error))? {
            if bytes.len() + chunk.len() > BODY_BYTES_MAX {
                return Err(self.foreign("more than 64 MiB"));
            }
            bytes.extend_from_slice(&chunk);
        }
        let text = String::from_utf8(bytes).map_err(|_| self.foreign("something that is no text"))?;
        if !status.is_success() {
            return Err(self.refused(status, &text));
        }
        let json = if text.trim().is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&text).map_err(|_| self.foreign("something that is no JSON"))?
        };
        Ok(Body { text, json })
    }

    fn unreachable(&self, error: reqwest::Error) -> Failure {
        let why = if error.is_timeout() {
            "no answer in time".to_owned()
        } else {
            // The innermost cause says it best; the URL is in our own sentence already.
            let mut cause: &dyn std::error::Error = &error;
            while let Some(inner) = cause.source() {
                cause = inner;
            }
            cause.to_string()
        };
        Failure::cannot(anyhow!("cannot reach burnwatch at {}: {why}; is the daemon running, and is server.public_url right?", self.base))
    }

    fn foreign(&self, what: &str) -> Failure {
        Failure::cannot(anyhow!("{} answered with {what}; does burnwatch run there? (server.public_url)", self.base))
    }

    /// What an answer other than 2xx means to the person at the command line.
    fn refused(&self, status: StatusCode, text: &str) -> Failure {
        let said = problem(text).unwrap_or_else(|| status.canonical_reason().unwrap_or("no reason given").to_lowercase());
        match status {
            StatusCode::UNAUTHORIZED if self.token.is_none() => Failure::usage(anyhow!("{} wants a token: set BURNWATCH_TOKEN", self.base)),
            StatusCode::UNAUTHORIZED => Failure::usage(anyhow!("the token in BURNWATCH_TOKEN is not accepted by {}", self.base)),
            StatusCode::FORBIDDEN => Failure::usage(anyhow!("not allowed: {said}; the token in BURNWATCH_TOKEN may lack the scope")),
            StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::CONFLICT => Failure::not_fine(anyhow!("{said}")),
            status if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS && status != StatusCode::REQUEST_TIMEOUT => {
                Failure::usage(anyhow!("burnwatch refused: {said}"))
            }
            status if status.is_redirection() => self.foreign("a redirect"),
            status => Failure::cannot(anyhow!("burnwatch at {} could not do it ({}): {said}", self.base, status.as_u16())),
        }
    }
}

/// What an `application/problem+json` body says.
fn problem(text: &str) -> Option<String> {
    let json: Value = serde_json::from_str(text).ok()?;
    let said = json.get("detail").or_else(|| json.get("title"))?.as_str()?;
    Some(said.chars().take(2000).collect())
}

/// Runs a client command to its end.
pub fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start the runtime").map_err(Failure::cannot)?.block_on(work)
}
