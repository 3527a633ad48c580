//! `burnwatch healthcheck`: for containers, whose images have no curl.

use std::time::Duration;

use anyhow::{Context as _, anyhow};

use super::exit::{Failure, Outcome};
use crate::config::Config;

/// Asks `/healthz` of the daemon that listens where this configuration says.
pub async fn run(config: &Config) -> Outcome {
    let mut listen = config.server.listen;
    if listen.ip().is_unspecified() {
        listen.set_ip(if listen.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() });
    }
    let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build();
    let http = http.context("cannot set up the HTTP client").map_err(Failure::cannot)?;
    let answer = http.get(format!("http://{listen}/healthz")).send().await;
    let status = answer.with_context(|| format!("no answer at {listen}")).map_err(Failure::cannot)?.status();
    if status.is_success() { Ok(()) } else { Err(Failure::cannot(anyhow!("{listen} answered {status}"))) }
}
