//! `[server]` and `[intake]`: who may come in, and how much.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::section::{Section, short, within};
use super::tree::{Node, Value};
use super::*;
use crate::domain::redact::VALUE_MAX;

/// Bodies above this are no configuration but a mistake: they are held in memory.
const BYTES_MAX: i64 = 1 << 30;

pub(super) fn server(section: &mut Section<'_>, purpose: Purpose) -> Server {
    let listen = address(section, 9320);
    let public_url = match section.parsed::<url::Url>("public_url") {
        Some(url)
            if matches!(url.scheme(), "http" | "https") && url.host().is_some() && url.query().is_none() && url.fragment().is_none() =>
        {
            url
        }
        Some(url) => {
            let place = section.place("public_url");
            section.problem(
                &place,
                "public_url",
                format_args!("`{}` is not usable; write it like \"https://burnwatch.example.com\"", short(url.as_str())),
            );
            reachable(listen)
        }
        None => reachable(listen),
    };
    let body_bytes_max = section.integer("body_bytes_max", 67_108_864, 1..=BYTES_MAX);
    let tokens = tokens(section);
    // Tokens that are written but wrong are their own problem.
    if purpose == Purpose::Serve && tokens.is_empty() && !section.has_items("tokens") && !listen.ip().to_canonical().is_loopback() {
        let place = section.place("listen");
        let message = format!(
            "{listen} is open to others and there are no tokens: anyone could acknowledge and silence; \
             add server.tokens or listen on 127.0.0.1"
        );
        section.problem(&place, "listen", message);
    }
    Server { listen, public_url, body_bytes_max, tokens }
}

fn address(section: &mut Section<'_>, port: u16) -> SocketAddr {
    let default = SocketAddr::from(([127, 0, 0, 1], port));
    let Some(text) = section.text("listen") else { return default };
    text.parse().unwrap_or_else(|_| {
        let place = section.place("listen");
        let message = format!("`{}` is no address with a port; write it like \"127.0.0.1:{port}\" or \"[::1]:{port}\"", short(&text));
        section.problem(&place, "listen", message);
        default
    })
}

/// The URL of a listener as seen from this machine: what links and clients use when no `public_url` is given.
fn reachable(listen: SocketAddr) -> url::Url {
    let mut seen = listen;
    if seen.ip().is_unspecified() {
        seen.set_ip(if seen.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() });
    }
    if seen.port() == 0 {
        seen.set_port(9320);
    }
    url::Url::parse(&format!("http://{seen}")).expect("an address with a port is a valid host")
}

fn tokens(section: &mut Section<'_>) -> Vec<Token> {
    let Some(node) = section.node("tokens") else { return Vec::new() };
    let Value::List(items) = node.value else {
        section.problem(&node.place, "tokens", format_args!("expected a list of {{ name, scopes, sha256 }}, found {}", node.value.kind()));
        return Vec::new();
    };
    let mut tokens: Vec<Token> = Vec::new();
    for item in items {
        let Value::Table(table) = item.value else {
            section.problem(&item.place, "tokens", format_args!("expected {{ name, scopes, sha256 }}, found {}", item.value.kind()));
            continue;
        };
        let Some(token) = within("server.tokens", table, section.report, |section| token(section, &item.place)) else { continue };
        if tokens.iter().any(|other| other.name == token.name) {
            section.problem(
                &item.place,
                "tokens",
                format_args!("two tokens are named `{}`; the audit could not tell them apart", short(&token.name)),
            );
        }
        tokens.push(token);
    }
    tokens
}

fn token(section: &mut Section<'_>, place: &Place) -> Option<Token> {
    let name = section.text("name").filter(|name| !name.trim().is_empty());
    let scopes = section.texts("scopes").unwrap_or_default();
    let sha256 = section.text("sha256");
    let mut granted = Vec::new();
    for (scope, place) in &scopes {
        match scope.as_str() {
            "read" => granted.push(Scope::Read),
            "operate" => granted.push(Scope::Operate),
            "admin" => granted.push(Scope::Admin),
            other => section.problem(place, "scopes", format_args!("`{}` is none of \"read\", \"operate\", \"admin\"", short(other))),
        }
    }
    let mut digest = [0; 32];
    let readable = sha256.is_some_and(|text| hex::decode_to_slice(text, &mut digest).is_ok());
    if !readable {
        section.problem(
            place,
            "sha256",
            "expected the SHA-256 of the token as 64 hexadecimal digits, as `printf %s \"$TOKEN\" | sha256sum` prints it",
        );
    }
    if scopes.is_empty() {
        section.problem(place, "scopes", "a token needs at least one of \"read\", \"operate\", \"admin\"");
    }
    if name.is_none() {
        section.problem(place, "name", "a token needs a name; the audit shows it");
    }
    match name {
        Some(name) if readable && !granted.is_empty() => Some(Token { name, scopes: granted, sha256: digest }),
        Some(_) | None => None,
    }
}

/// How many flags make a cohort, and how many routes are tried for every event.
const COHORT_FLAGS_MAX: usize = 8;
const ROUTE_TEMPLATES_MAX: usize = 500;
/// So many values of one dimension an app may have; a place of a path with more has been folded before it is learnt.
const VALUES_MAX: i64 = 1_000;

pub(super) fn intake(section: &mut Section<'_>, purpose: Purpose) -> Intake {
    let listen = address(section, 9321);
    let mut keys = section.texts("keys").unwrap_or_default();
    if let Some(file) = section.text("keys_file") {
        keys.extend(keys_from(section, &file, purpose));
    }
    for (key, place) in &keys {
        if key.is_empty() || !key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.~".contains(&b)) {
            section.problem(place, "keys", "a key is part of a URL: use letters, digits, and -_.~ only");
        }
    }
    let unknown = section.has("keys_file") && purpose == Purpose::Tool;
    if purpose == Purpose::Serve && keys.is_empty() && !unknown && !listen.ip().to_canonical().is_loopback() {
        let place = section.place("listen");
        let message = format!(
            "{listen} is open to others and there are no app keys: anyone could send beacons; add intake.keys or listen on 127.0.0.1"
        );
        section.problem(&place, "listen", message);
    }
    let keys = keys.into_iter().map(|(key, _)| key).collect();
    let allowed_origins = origins(section);
    let body_bytes_max = section.integer("body_bytes_max", 1_048_576, 1..=BYTES_MAX);
    let otlp_bytes_max = section.integer("otlp_bytes_max", 8_388_608, 1..=BYTES_MAX);
    let sample_rate_min = match section.node("sample_rate_min") {
        Some(node) => rate(section, "sample_rate_min", &node).unwrap_or(0.001),
        None => 0.001,
    };
    let mut sample_rates = BTreeMap::new();
    for (app, node) in section.names("sample_rates") {
        let Some(rate) = rate(section, "sample_rates", &node) else { continue };
        if rate < sample_rate_min {
            section.problem(
                &node.place,
                "sample_rates",
                format_args!("{rate} of `{}` is below intake.sample_rate_min = {sample_rate_min}", short(&app)),
            );
        }
        sample_rates.insert(app, rate);
    }
    let rate_per_source = section.integer("rate_per_source", 1000, 0..=i64::from(u32::MAX));
    let influence_per_source = section.integer("influence_per_source", 60_000, 0..=i64::from(u32::MAX));
    let trusted_proxies = networks(section, "trusted_proxies");
    let geo_file = section.text("geo_file").filter(|file| !file.is_empty()).map(|file| section.report.resolve(file));
    let cohort_flags = cohort_flags(section);
    let route_templates = route_templates(section);
    let route_values_max = section.integer("route_values_max", 100, 0..=VALUES_MAX);
    Intake {
        listen,
        keys,
        allowed_origins,
        body_bytes_max,
        otlp_bytes_max,
        sample_rates,
        sample_rate_min,
        rate_per_source,
        influence_per_source,
        trusted_proxies,
        geo_file,
        cohort_flags,
        route_templates,
        route_values_max,
    }
}

/// A list of networks.
pub(super) fn networks(section: &mut Section<'_>, key: &'static str) -> Vec<Network> {
    let mut networks = Vec::new();
    for (text, place) in section.texts(key).unwrap_or_default() {
        match text.parse() {
            Ok(network) => networks.push(network),
            Err(error) => section.problem(&place, key, error),
        }
    }
    networks
}

/// Names of flags; a cohort is written `flag=variant,flag=variant`.
fn cohort_flags(section: &mut Section<'_>) -> Vec<String> {
    let given = section.texts("cohort_flags").unwrap_or_default();
    let place = section.place("cohort_flags");
    if given.len() > COHORT_FLAGS_MAX {
        section.problem(&place, "cohort_flags", format_args!("at most {COHORT_FLAGS_MAX} flags: every one multiplies the series"));
    }
    let mut flags: Vec<String> = Vec::new();
    for (flag, place) in given {
        let fine =
            (1..=64).contains(&flag.len()) && !flag.contains(['=', ',']) && !flag.chars().any(|c| c.is_control() || c.is_whitespace());
        if !fine {
            let message = format!("`{}` is no name of a flag: 1 to 64 bytes without spaces, `=` and `,`", short(&flag));
            section.problem(&place, "cohort_flags", message);
        } else if flags.contains(&flag) {
            section.problem(&place, "cohort_flags", format_args!("`{flag}` is given twice"));
        } else {
            flags.push(flag);
        }
    }
    flags
}

fn route_templates(section: &mut Section<'_>) -> Vec<String> {
    let given = section.texts("route_templates").unwrap_or_default();
    let place = section.place("route_templates");
    if given.len() > ROUTE_TEMPLATES_MAX {
        section.problem(
            &place,
            "route_templates",
            format_args!("at most {ROUTE_TEMPLATES_MAX} templates: every event is held against them"),
        );
    }
    let mut templates = Vec::new();
    for (template, place) in given {
        let body = template.strip_suffix("/*").unwrap_or(&template);
        let fine = template.starts_with('/')
            && template.len() <= VALUE_MAX
            && !body.contains(['?', '#', '*'])
            && !template.chars().any(|c| c.is_control() || c.is_whitespace())
            && !body.split('/').any(|segment| segment == ":");
        if fine {
            templates.push(template);
        } else {
            let message = format!(
                "`{}` is no route; write it like \"/product/:sku/reviews\" or \"/docs/*\", at most {VALUE_MAX} bytes",
                short(&template)
            );
            section.problem(&place, "route_templates", message);
        }
    }
    templates
}

/// App keys from a file, one a line.
fn keys_from(section: &mut Section<'_>, file: &str, purpose: Purpose) -> Vec<(String, Place)> {
    let place = section.place("keys_file");
    let path = section.report.resolve(file);
    if section.has("keys") {
        section.problem(&place, "keys_file", "`keys` is given as well; keep one of the two");
    }
    match secret::read_secret_file(&path) {
        Ok(text) => text.lines().map(str::trim).filter(|key| !key.is_empty()).map(|key| (key.to_owned(), place.clone())).collect(),
        Err(error) => {
            let message = format!("cannot read {}: {error}", path.display());
            match purpose {
                Purpose::Serve => section.problem(&place, "keys_file", message),
                Purpose::Tool => section.report.warnings.push(Problem { place, message: format!("intake.keys_file: {message}") }),
            }
            Vec::new()
        }
    }
}

fn origins(section: &mut Section<'_>) -> Vec<String> {
    let Some(given) = section.texts("allowed_origins") else { return vec!["*".to_owned()] };
    let mut origins = Vec::new();
    for (origin, place) in given {
        let exact = url::Url::parse(&origin).is_ok_and(|url| url.origin().is_tuple() && url.origin().ascii_serialization() == origin);
        // `https://*.example.com` is for subdomains; apart from that one star it has to be an origin.
        let pattern = origin.matches('*').count() == 1
            && origin.contains("://*.")
            && url::Url::parse(&origin.replacen("*.", "", 1))
                .is_ok_and(|url| url.origin().ascii_serialization() == origin.replacen("*.", "", 1));
        if origin == "*" || exact || pattern {
            origins.push(origin);
        } else {
            let message = format!(
                "`{}` is no origin; write it like \"https://shop.example.com\", \"https://*.example.com\" or \"*\"",
                short(&origin)
            );
            section.problem(&place, "allowed_origins", message);
        }
    }
    origins
}

/// A sampling rate: 0 < r <= 1.
fn rate(section: &mut Section<'_>, key: &'static str, node: &Node) -> Option<f64> {
    let rate = match node.value {
        Value::Float(rate) => Some(rate),
        Value::Integer(rate) => Some(rate as f64),
        _ => None,
    };
    let fine = rate.filter(|rate| *rate > 0.0 && *rate <= 1.0);
    if fine.is_none() {
        section.problem(&node.place, key, "a sampling rate is a number above 0 and at most 1");
    }
    fine
}
