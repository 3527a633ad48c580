//! What the request itself says about the sender: machine, country, and whether they want to be left alone.

use http::HeaderMap;

use crate::domain::agent::{Agent, Hints};

/// Headers in which content delivery networks put the country of the visitor.
const COUNTRY_HEADERS: [&str; 8] = [
    "cf-ipcountry",
    "x-vercel-ip-country",
    "cloudfront-viewer-country",
    "fastly-geo-country",
    "fastly-geo-country-code",
    "x-geo-country",
    "x-country-code",
    "x-appengine-country",
];

/// What the headers of a request say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Enrichment {
    pub agent: Agent,
    /// ISO 3166 country in lower case, or nothing.
    pub region: String,
    /// `Sec-GPC: 1` or `DNT: 1`.
    pub opted_out: bool,
}

impl Enrichment {
    /// Reads the headers. Cookies and addresses are not looked at.
    pub fn of(headers: &HeaderMap) -> Enrichment {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
        let hints = Hints { brands: text("sec-ch-ua"), mobile: text("sec-ch-ua-mobile"), platform: text("sec-ch-ua-platform") };
        let region = COUNTRY_HEADERS.iter().map(|name| text(name).trim()).find(|value| is_country(value));
        Enrichment {
            agent: Agent::read(text("user-agent"), hints),
            region: region.unwrap_or("").to_ascii_lowercase(),
            opted_out: text("sec-gpc").trim() == "1" || text("dnt").trim() == "1",
        }
    }
}

/// Two letters; `XX` stands for an unknown country and `T1` for Tor.
pub(super) fn is_country(value: &str) -> bool {
    value.len() == 2 && value.bytes().all(|b| b.is_ascii_alphabetic()) && !value.eq_ignore_ascii_case("xx")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_country_comes_from_any_network_and_signals_are_heard() {
        let mut headers = HeaderMap::new();
        assert_eq!(Enrichment::of(&headers), Enrichment::default());
        headers.insert("cf-ipcountry", "T1".parse().unwrap());
        headers.insert("cloudfront-viewer-country", "DE".parse().unwrap());
        headers.insert("sec-gpc", "1".parse().unwrap());
        headers.insert("sec-ch-ua-mobile", "?1".parse().unwrap());
        let read = Enrichment::of(&headers);
        assert_eq!((read.region.as_str(), read.opted_out, read.agent.device), ("de", true, "phone"));
    }
}
