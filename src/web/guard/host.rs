//! Which names this listener answers to: no foreign name, so that a rebound DNS name reaches nothing.

use std::net::IpAddr;

use axum::http::{HeaderMap, Uri, header};

/// Whether the Host is an address, localhost, or the host of `server.public_url`.
pub(super) fn is_ours(uri: &Uri, headers: &HeaderMap, public_url: &url::Url) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(_), Some(_)) => return false,
        (Some(host), None) => host.to_str().ok(),
        (None, _) => uri.authority().map(|authority| authority.as_str()),
    };
    let Some(host) = host else { return false };
    let name = name_of(host);
    name.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || public_url.host_str().is_some_and(|ours| name_of(ours).eq_ignore_ascii_case(name))
}

/// Without port and brackets.
fn name_of(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') && port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r9_only_addresses_localhost_and_our_own_name_are_answered() {
        let public = url::Url::parse("https://burnwatch.example.com/").unwrap();
        let ours = |host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            is_ours(&Uri::from_static("/"), &headers, &public)
        };
        for host in [
            "127.0.0.1",
            "127.0.0.1:9320",
            "[::1]:9320",
            "localhost:1",
            "LOCALHOST",
            "burnwatch.example.com",
            "Burnwatch.Example.com:443",
            "10.0.0.7",
        ] {
            assert!(ours(host), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:9320",
            "localhost.evil.example",
            "burnwatch.example.com.evil.example",
            "",
            "127.0.0.1.evil.example",
            "1.2.3.4:80:80",
        ] {
            assert!(!ours(host), "{host}");
        }
        assert!(!is_ours(&Uri::from_static("/"), &HeaderMap::new(), &public));
    }
}
