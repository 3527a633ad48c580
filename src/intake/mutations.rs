//! For tests: what hostile and broken senders make of a body, and that nothing comes of it but an answer.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;

use super::Settings;
use super::captures::{Bench, DIMENSIONS, captures};
use super::tests::settings;
use crate::domain::cell::Cell;
use crate::domain::keyed::KeyedHash;
use crate::domain::redact::{Redactor, VALUE_MAX};
use crate::domain::rows::Reader;
use crate::domain::time::{Span, Timestamp};

/// One change of a body.
#[derive(Clone, Debug)]
pub(super) enum Mutation {
    Flip(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    /// A piece goes from one place to another.
    Splice(prop::sample::Index, prop::sample::Index, usize),
    /// Something that parsers trip over takes the place of some bytes.
    Put(prop::sample::Index, usize, &'static str),
}

const STUMBLING_BLOCKS: [&str; 16] = [
    "null",
    "-1",
    "1e400",
    "18446744073709551616",
    "NaN",
    "\"\"",
    "[]",
    "{}",
    "[[[[[[[[",
    "{\"a\":{\"a\":",
    "\\ud800",
    "\u{0}",
    "\n",
    "\r\n",
    "\u{202e}",
    "\",\"",
];

pub(super) fn mutation() -> impl Strategy<Value = Mutation> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        8 => (index(), any::<u8>()).prop_map(|(at, bits)| Mutation::Flip(at, bits)),
        1 => index().prop_map(Mutation::Cut),
        3 => (index(), index(), 1..64_usize).prop_map(|(from, to, length)| Mutation::Splice(from, to, length)),
        4 => (index(), 0..32_usize, prop::sample::select(&STUMBLING_BLOCKS[..])).prop_map(|(at, length, text)| Mutation::Put(at, length, text)),
    ]
}

pub(super) fn mutated(mut body: Vec<u8>, mutations: &[Mutation]) -> Vec<u8> {
    for mutation in mutations {
        if body.is_empty() {
            break;
        }
        match mutation {
            Mutation::Flip(at, bits) => {
                let at = at.index(body.len());
                body[at] ^= bits;
            }
            Mutation::Cut(at) => body.truncate(at.index(body.len())),
            Mutation::Splice(from, to, length) => {
                let (from, to) = (from.index(body.len()), to.index(body.len()));
                let piece = body[from..(from + length).min(body.len())].to_vec();
                body.splice(to..to, piece);
            }
            Mutation::Put(at, length, text) => {
                let at = at.index(body.len());
                body.splice(at..(at + length).min(body.len()), text.bytes());
            }
        }
    }
    body
}

/// What clients of every protocol sent: path, headers, body.
type Sent = (String, Vec<(String, String)>, Vec<u8>);

fn sent() -> Vec<Sent> {
    let mut all: Vec<Sent> = Vec::new();
    for client in ["faro", "sentry", "reporting-api"] {
        for capture in captures(client) {
            let path = if client == "reporting-api" { "/v1/reports?app=shop".to_owned() } else { capture.path };
            all.push((path, capture.headers, capture.body));
        }
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/captures/web-vitals");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    all.extend(files.map(|file| ("/v1/rum".to_owned(), Vec::new(), std::fs::read(file).unwrap())));
    // What the captures do not have.
    for (path, body) in [
        (
            "/v1/rum",
            r#"[{"v":1,"app":"shop","release":"1","session":"s","user":"u","page":"/p/1","flags":{"new_checkout":"b"},"consent":"full","sample_rate":0.5,"sent_at":5,"id":"b","events":[{"kind":"step","funnel":"f","step":"s","ok":false},{"kind":"custom","name":"c","value":1.5},{"kind":"crash","message":"m"},{"kind":"session","crashed":true},{"kind":"request","url":"https://a/b","status":500,"value":3,"trace":"0123456789abcdef0123456789abcdef","ts":3}]}]"#,
        ),
        (
            "/api/7/store/",
            r#"{"event_id":"e1","level":"fatal","release":"web@2","timestamp":5,"exception":[{"type":"A","value":"b","stacktrace":{"frames":[{"function":"f"}]}}],"tags":[["flag.new_checkout","a"]],"contexts":{"flags":{"values":[{"flag":"x","result":true}]}}}"#,
        ),
        (
            "/api/7/envelope/",
            "{\"trace\":{\"sample_rate\":\"0.5\"}}\n{\"type\":\"transaction\"}\n{\"transaction\":\"/p\",\"start_timestamp\":1,\"timestamp\":2,\"contexts\":{\"trace\":{\"op\":\"pageload\",\"span_id\":\"p\"}},\"measurements\":{\"lcp\":{\"value\":9}},\"spans\":[{\"op\":\"http.client\",\"description\":\"GET https://a/b\",\"status\":\"ok\"}]}\n{\"type\":\"sessions\",\"length\":40}\n{\"aggregates\":[{\"exited\":9,\"crashed\":1}]}\n{\"type\":\"client_report\"}\n{\"discarded_events\":[{\"reason\":\"network_error\",\"category\":\"error\",\"quantity\":5}]}\n",
        ),
        (
            "/collect",
            r#"{"meta":{"app":{"name":"shop"},"session":{"id":"s","attributes":{"sample_rate":"0.5"}},"page":{"url":"https://s/a?b"},"view":{"name":"v"}},"events":[{"name":"cart","attributes":{"value":"3","ok":"false"}},{"name":"faro.tracing.fetch","trace":{"trace_id":"0123456789abcdef0123456789abcdef"},"attributes":{"http.method":"GET","http.url":"/x","http.status_code":"500","duration_ns":"5e6"}}],"exceptions":[{"type":"E","value":"v","fatal":true,"stacktrace":{"frames":[{"function":"f"}]}}],"measurements":[{"type":"mine","values":{"a":1}}]}"#,
        ),
        (
            "/v1/reports?app=a",
            r#"[{"age":1000,"type":"network-error","url":"https://a/b?c","body":{"type":"tcp.timed_out","sampling_fraction":0.5,"status_code":0,"elapsed_time":3,"method":"GET"}},{"type":"crash","url":"https://a/","body":{"reason":"oom"}}]"#,
        ),
    ] {
        all.push((path.to_owned(), Vec::new(), body.as_bytes().to_vec()));
    }
    all
}

/// Whatever stood in a body: figures that are figures, texts that are short, of one line and without bidirectional marks.
fn is_sane((name, dims): (&str, &BTreeMap<String, String>), cell: &Cell) -> Result<(), TestCaseError> {
    let counts = cell.counts;
    prop_assert!(counts.bad <= counts.total && counts.raw_bad <= counts.raw && counts.bad >= 0 && counts.raw >= 0, "{name} {counts:?}");
    // Updates take off what they replace, which leaves a trace of rounding.
    prop_assert!(cell.sum.is_finite() && cell.sum > -0.001, "{name} {}", cell.sum);
    for (dimension, value) in dims {
        let unsafe_mark = |c: char| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c);
        prop_assert!(value.len() <= VALUE_MAX && !value.chars().any(unsafe_mark), "{name} {dimension} {value:?}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn no_body_breaks_the_intake(
        which in any::<prop::sample::Index>(),
        mutations in prop::collection::vec(mutation(), 0..12),
        again in any::<bool>(),
    ) {
        let all = sent();
        let (path, headers, body) = which.get(&all);
        let body = mutated(body.clone(), &mutations);
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (&**name, &**value)).collect();
        let mut bench = Bench::with(Settings { rate_per_source: 0, body_bytes_max: 1 << 20, cohort_flags: vec!["new_checkout".into()], telemetry: true, ..settings() });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (status, _, answer) = runtime.block_on(bench.post(path, &headers, body.clone()));
        prop_assert!((200..300).contains(&status) || (400..500).contains(&status), "{status} {answer}");
        let read: serde_json::Value = serde_json::from_str(&answer).map_err(|error| TestCaseError::fail(error.to_string()))?;
        if let Some(rejected) = read["rejected"].as_array() {
            let mut last = 0;
            for entry in rejected {
                let index = entry["index"].as_u64().unwrap();
                prop_assert!(index >= last && index < 10_000, "{answer}");
                last = index;
            }
        }
        bench.count();
        prop_assert!(bench.cells.len() < 1_000, "one body makes {} series", bench.cells.len());
        for ((name, dims), cell) in &bench.cells {
            is_sane((name, dims), cell)?;
        }
        // What counted, counts once: the same bytes again change nothing.
        if again && status < 300 {
            let before = bench.cells.clone();
            let (repeated, ..) = runtime.block_on(bench.post(path, &headers, body));
            bench.count();
            prop_assert_eq!((repeated, &bench.cells), (status, &before));
        }
    }

    #[test]
    fn no_row_breaks_the_aggregates(mutations in prop::collection::vec(mutation(), 0..16), as_list in any::<bool>()) {
        let rows = [
            r#"{"bucket":"2026-11-22T03:00:00Z","metric":"lcp","dims":{"app":"shop","route":"/checkout","nav":"hard"},"total":620.5,"raw":600,"sum":9e5,"histogram":[[1000,400],[2500,150],[4000,40],[null,10]]}"#,
            r#"{"bucket":1795316400000,"metric":"request","dims":{"app":"shop","status":"5xx"},"total":100,"bad":7.25,"raw_bad":3,"users":["u1","u2"],"bad_users":["u1"],"id":"r1"}"#,
            r#"{"bucket":"2026-11-22T03:01:00Z","metric":"custom:orders","dims":{"app":"shop"},"total":0}"#,
        ];
        let text = if as_list { format!("[{}]", rows.join(",")) } else { rows.join("\n") };
        let body = mutated(text.into_bytes(), &mutations);
        let reader = Reader::new(Span::MINUTE, &DIMENSIONS.map(str::to_owned), KeyedHash::new([1; 16]), Redactor::default());
        let mut bench = Bench::new();
        let mut good = Vec::new();
        // A body that is no list at all is refused as a whole.
        let _ = reader.read(&body, |line, row| good.extend(row.ok().map(|row| (line, row))));
        prop_assert!(good.len() <= body.len());
        bench.sink.submit_rows(good, Timestamp(1_795_362_400_000));
        bench.count();
        for ((name, dims), cell) in &bench.cells {
            is_sane((name, dims), cell)?;
        }
    }
}
