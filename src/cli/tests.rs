//! The command line against a daemon that says what it was asked.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use clap::CommandFactory;
use serde_json::json;

use super::exit::Code;
use super::*;
use crate::clock::FixedClock;

type Seen = Arc<Mutex<Vec<String>>>;

/// A daemon that answers by path and remembers every request as `METHOD path?query token body`.
async fn daemon() -> (String, Seen) {
    let seen = Seen::default();
    async fn answer(State(seen): State<Seen>, request: Request<axum::body::Body>) -> (StatusCode, String) {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        let token = parts.headers.get("authorization").map_or("-", |value| value.to_str().unwrap());
        let line = format!("{} {} {token} {}", parts.method, parts.uri, String::from_utf8_lossy(&body));
        seen.lock().unwrap().push(line);
        let query = parts.uri.query().unwrap_or_default();
        let (status, body) = match parts.uri.path() {
            "/v1/slos" if query.is_empty() => (200, json!({ "items": [{ "slo": "a" }], "next": "2" })),
            "/v1/slos" => (200, json!({ "items": [{ "slo": "b" }], "next": null })),
            "/v1/slos/good/gate" => (200, json!({ "allow": true, "reason": "budget left" })),
            "/v1/slos/burnt/gate" => (200, json!({ "allow": false, "reason": "budget gone" })),
            "/v1/incidents/i1/ack" | "/v1/incidents/i1/snooze" | "/v1/annotations" | "/v1/silences" => (200, json!({ "id": "x1" })),
            "/v1/deadletters/d1/replay" => (200, json!({})),
            "/v1/receivers/pager/test" => (200, json!({ "delivered": false, "detail": "refused" })),
            "/v1/alerts" => (401, json!({ "title": "unauthorized" })),
            "/v1/incidents" => (503, json!({ "title": "busy" })),
            "/v1/receivers" => (200, json!("no list")),
            _ => (404, json!({ "title": "not found", "detail": "there is no such thing" })),
        };
        (StatusCode::from_u16(status).unwrap(), body.to_string())
    }
    let router = Router::new().fallback(answer).with_state(seen.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, seen)
}

/// Runs a command line in its own thread, as commands bring their own runtime.
async fn burnwatch(url: &str, line: &[&str]) -> Outcome {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = Cli::try_parse_from([&["burnwatch"], line].concat()).unwrap();
    let variables = [("BURNWATCH_SERVER__PUBLIC_URL", url), ("BURNWATCH_TOKEN", "t0k3n"), ("USER", "ada")];
    let environment = variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let clock = FixedClock::new("2026-11-22T03:00:00Z".parse().unwrap());
    let context = Context { config_file: None, environment, clock: Arc::new(clock) };
    tokio::task::spawn_blocking(move || run(&cli.command, &context)).await.unwrap()
}

fn code(outcome: Outcome) -> u8 {
    outcome.map_or_else(|failure| failure.code as u8, |()| 0)
}

#[test]
fn the_definitions_are_sound_and_every_command_says_what_it_does() {
    let mut command = Cli::command();
    command.build();
    command.clone().debug_assert();
    fn visit(command: &clap::Command) {
        assert!(command.get_about().is_some(), "{} has no help", command.get_name());
        command.get_subcommands().filter(|inner| inner.get_name() != "help").for_each(visit);
    }
    visit(&command);
}

#[test]
fn a_mistake_on_the_command_line_is_code_two() {
    for line in [
        &["burnwatch", "sla"][..],
        &["burnwatch", "slo", "gate"],
        &["burnwatch", "silence", "add", "a=b", "--comment", "c"],
        &["burnwatch"],
    ] {
        assert_eq!(Cli::try_parse_from(line).unwrap_err().exit_code(), 2, "{line:?}");
    }
    assert_eq!(Cli::try_parse_from(["burnwatch", "--help"]).unwrap_err().exit_code(), 0);
    assert_eq!(Cli::try_parse_from(["burnwatch", "--version"]).unwrap_err().exit_code(), 0);
}

#[tokio::test]
async fn every_page_of_a_list_is_asked_for_with_the_token() {
    let (url, seen) = daemon().await;
    assert_eq!(code(burnwatch(&url, &["slo", "list"]).await), 0);
    assert_eq!(*seen.lock().unwrap(), ["GET /v1/slos Bearer t0k3n ", "GET /v1/slos?cursor=2 Bearer t0k3n "]);
    assert_eq!(code(burnwatch(&url, &["slo", "list", "--json"]).await), 0);
    assert_eq!(seen.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn answers_become_exit_codes() {
    let (url, _seen) = daemon().await;
    for (line, expected) in [
        (&["slo", "gate", "good"][..], 0),
        (&["slo", "gate", "burnt"], 1),
        (&["slo", "gate", "burnt", "--json"], 1),
        (&["slo", "show", "nope"], 1),
        (&["slo", "show", ".."], 1),
        (&["alert", "list"], 2),
        (&["incident", "list"], 3),
        (&["receiver", "list"], 3),
        (&["receiver", "send-test", "pager"], 1),
        (&["deadletter", "replay", "d1"], 0),
        (&["deadletter", "replay", "d1", "d2"], 1),
        (&["silence", "expire", "s9"], 1),
        (&["version"], 0),
    ] {
        assert_eq!(code(burnwatch(&url, line).await), expected, "{line:?}");
    }
}

#[tokio::test]
async fn what_is_posted_is_what_the_contract_says() {
    let (url, seen) = daemon().await;
    for line in [
        &["incident", "ack", "i1"][..],
        &["incident", "snooze", "i1", "--for", "2h", "--text", "later"],
        &["annotate", "deploy", "--app", "shop", "--release", "2.3.1", "--at", "-10m"],
        &["annotate", "flag", "--app", "shop"],
        &["silence", "add", "service=shop", "region=~eu.*", "--for", "2h", "--comment", "move"],
    ] {
        assert_eq!(code(burnwatch(&url, line).await), 0, "{line:?}");
    }
    let bodies: Vec<Value> =
        seen.lock().unwrap().iter().map(|line| serde_json::from_str(line.split_once("t0k3n ").unwrap().1).unwrap()).collect();
    assert_eq!(bodies[0], json!({}));
    assert_eq!(bodies[1], json!({ "for": "2h", "text": "later" }));
    assert_eq!(bodies[2], json!({ "kind": "deploy", "app": "shop", "release": "2.3.1", "at": "2026-11-22T02:50:00Z" }));
    assert_eq!(bodies[3], json!({ "kind": "flag", "app": "shop" }));
    assert_eq!(
        bodies[4],
        json!({ "matchers": ["service=shop", "region=~eu.*"], "ends": "2026-11-22T05:00:00Z", "author": "ada", "comment": "move" })
    );
}

#[tokio::test]
async fn a_name_cannot_leave_its_place_in_the_path() {
    let (url, seen) = daemon().await;
    assert_eq!(code(burnwatch(&url, &["incident", "ack", "../silences?x=1"]).await), 1);
    assert_eq!(seen.lock().unwrap()[0].split(' ').nth(1).unwrap(), "/v1/incidents/..%2Fsilences%3Fx=1/ack");
}

#[tokio::test]
async fn a_daemon_that_is_not_there_is_code_three_and_says_where_it_was_looked_for() {
    let failure = burnwatch("http://127.0.0.1:1", &["slo", "list"]).await.unwrap_err();
    assert_eq!(failure.code, Code::Cannot);
    let text = failure.error.unwrap().to_string();
    assert!(text.contains("cannot reach burnwatch at http://127.0.0.1:1/") && text.contains("is the daemon running"), "{text}");
}

#[tokio::test]
async fn a_wrong_configuration_is_code_two() {
    assert_eq!(code(burnwatch("no url", &["slo", "list"]).await), 2);
}

#[test]
fn the_offline_commands_take_what_the_contract_lists() {
    #[derive(Debug, Parser)]
    enum Offline {
        Check(check::Check),
        Backtest(backtest::Backtest),
        #[command(subcommand)]
        Aggregates(aggregates::AggregatesCommand),
        Backup(backup::Backup),
    }
    for line in [
        "check",
        "check rules",
        "backtest",
        "backtest rules --from -30d --to 2026-11-22T03:00:00Z --data f.ndjson --slo a --against HEAD~1 --json --plot f.svg",
        "aggregates load f.ndjson",
        "backup f.db",
    ] {
        let words = std::iter::once("burnwatch").chain(line.split(' '));
        assert!(Offline::try_parse_from(words).is_ok(), "{line}");
    }
    assert_eq!(Offline::try_parse_from(["burnwatch", "backtest", "--from", "yesterday"]).unwrap_err().exit_code(), 2);
}
