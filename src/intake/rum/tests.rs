use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::config::OptOut;
use crate::domain::cell::UNIT;
use crate::domain::time::Span;

const NOW: Timestamp = Timestamp(1_795_362_400_000);

fn settings() -> Settings {
    Settings {
        body_bytes_max: 1 << 20,
        sample_rates: BTreeMap::from([("rated".to_owned(), 0.1)]),
        rate_per_source: 0,
        cohort_flags: vec!["new_checkout".into()],
        ..crate::intake::tests::settings()
    }
}

/// What a body gives: metric, own dimensions, route, value and whether it is bad, one line an event; then what was rejected.
fn lines(json: &str) -> (Vec<String>, Vec<String>) {
    let from = Enrichment::default();
    let decoded = decode(json.as_bytes(), &settings(), &from, NOW).unwrap();
    let events = decoded.batches.iter().flat_map(|batch| &batch.events);
    let line = |event: &Event<'_>| {
        let own: Vec<&str> = event.own.iter().map(|own| &**own).filter(|own| !own.is_empty()).collect();
        let (bad, value) = (if event.bad { " bad" } else { "" }, event.value.map_or(String::new(), |value| format!(" {value}")));
        format!("{} {} {}{value}{bad}", event.metric, own.join(" "), event.route)
    };
    (events.map(line).collect(), decoded.rejected.iter().map(|(index, reason)| format!("{index}: {reason}")).collect())
}

fn one(event: &str) -> (Vec<String>, Vec<String>) {
    lines(&format!(r#"{{"app":"shop","page":"/home","events":[{event}]}}"#))
}

#[test]
fn captured_web_vitals_come_out_to_the_millisecond() {
    let captures = [
        include_str!("../../../tests/it/captures/web-vitals/001.json"),
        include_str!("../../../tests/it/captures/web-vitals/002.json"),
        include_str!("../../../tests/it/captures/web-vitals/003.json"),
        include_str!("../../../tests/it/captures/web-vitals/004.json"),
        include_str!("../../../tests/it/captures/web-vitals/005.json"),
        include_str!("../../../tests/it/captures/web-vitals/006.json"),
    ];
    let mut vitals: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    let (mut views, mut failed, mut errors, mut requests) = (0, 0, BTreeSet::new(), 0);
    let mut sessions = BTreeSet::new();
    for capture in captures {
        let from = Enrichment::default();
        let settings = settings();
        let decoded = decode(capture.as_bytes(), &settings, &from, NOW).unwrap();
        assert_eq!(decoded.rejected, []);
        for event in decoded.sessions.iter().flat_map(|batch| &batch.events) {
            assert_eq!((&event.metric, event.bad), (&Metric::Session, false));
            sessions.insert(event.repeat.unwrap().key);
        }
        for batch in &decoded.batches {
            assert_eq!((&*batch.source.app, &*batch.source.release, &*batch.source.environment), ("shop", "1.4.0", "production"));
            assert!(["new_checkout=on", "new_checkout=off"].contains(&&*batch.source.cohort));
            for event in &batch.events {
                assert!(event.user.is_some() && event.at <= NOW && event.at > NOW - Span::seconds(10), "{event:?}");
                match &event.metric {
                    Metric::Vital(vital) => {
                        vitals.entry(vital.name().to_owned()).or_default().push(event.value.unwrap());
                        assert!(event.repeat.is_some());
                    }
                    Metric::PageView => views += 1,
                    Metric::Request => {
                        requests += 1;
                        failed += usize::from(event.bad);
                    }
                    Metric::JsError => drop(errors.insert(event.own[0].to_string())),
                    other => panic!("{other}"),
                }
            }
        }
    }
    assert_eq!(vitals["lcp"], [3060.0, 536.0, 240.0]);
    assert_eq!(vitals["inp"], [272.0, 16.0, 280.0]);
    assert_eq!(vitals["cls"], [0.0, 0.0, 0.0]);
    assert_eq!(vitals["fcp"], [296.0, 500.0, 184.0]);
    assert_eq!(vitals["ttfb"], [40.399_999_999_906_87, 140.5, 52.199_999_999_953_434]);
    assert_eq!((views, requests, failed, errors.len(), sessions.len()), (4, 5, 2, 2, 2));
}

#[test]
fn a_session_that_is_named_is_counted_and_a_crash_in_it_is_its_crash() {
    let ask = |events: &str, more: &str| {
        let body = format!(r#"{{"app":"shop","session":"s","user":"u","events":[{events}]{more}}}"#);
        let (settings, from) = (settings(), Enrichment::default());
        let decoded = decode(body.as_bytes(), &settings, &from, NOW).unwrap();
        let events = decoded.sessions.iter().flat_map(|batch| &batch.events);
        events.map(|event| (event.metric.to_string(), event.bad, event.weight)).collect::<Vec<_>>()
    };
    let session = |bad: bool, weight: i64| vec![("session".to_owned(), bad, weight)];
    assert_eq!(ask(r#"{"kind":"page_view"},{"kind":"page_view"}"#, ""), session(false, UNIT));
    assert_eq!(ask(r#"{"kind":"page_view"},{"kind":"crash"}"#, r#","sample_rate":0.5"#), session(true, 2 * UNIT));
    assert_eq!(ask(r#"{"kind":"session"},{"kind":"page_view"}"#, ""), [], "the event counts it");
    assert_eq!(ask("", ""), []);
    assert_eq!(ask(r#"{"kind":"page_view"}"#, r#","consent":"none""#), [], "nobody may be told apart");
}

#[test]
fn every_kind_of_the_contract() {
    for (event, line) in [
        (r#"{"kind":"page_view"}"#, "page_view hard /home"),
        (r#"{"kind":"page_view","nav":"soft","ok":false,"page":"/p/17?x=y#z"}"#, "page_view soft /p/:id bad"),
        (r#"{"kind":"web_vital","name":"LCP","value":2500}"#, "lcp hard /home 2500"),
        (r#"{"kind":"web_vital","name":"cls","value":0.12,"navigationType":"soft-navigation"}"#, "cls soft /home 0.12"),
        (r#"{"kind":"request","path":"/api/items/9","method":"post","status":204,"value":12.5}"#, "request POST 2xx /api/items/:id 12.5"),
        (
            r#"{"kind":"request","url":"https://API.example.com:8443/v2/x?token=1","status":503}"#,
            "request api.example.com:8443 5xx /v2/x bad",
        ),
        (r#"{"kind":"request","host":"h","path":"/x","status":0}"#, "request h 0 /x bad"),
        (r#"{"kind":"request","host":"h","path":"/x","status":404,"success":true}"#, "request h 4xx /x"),
        (r#"{"kind":"request","path":"/x","success":false}"#, "request  /x bad"),
        (r#"{"kind":"interaction","name":"buy","value":80}"#, "interaction buy /home 80"),
        (r#"{"kind":"session"}"#, "session  /home"),
        (r#"{"kind":"session","crashed":true}"#, "session  /home bad"),
        (r#"{"kind":"step","funnel":"checkout","step":"paid"}"#, "step checkout paid /home"),
        (r#"{"kind":"step","funnel":"checkout","step":"paid","ok":false}"#, "step checkout paid /home bad"),
        (r#"{"kind":"custom","name":"replay.ok","value":3,"ok":false}"#, "custom:replay.ok  /home 3 bad"),
        (r#"{"kind":"custom","name":"x","unknown":{"deep":[[[]]]},"value":null}"#, "custom:x  /home"),
    ] {
        assert_eq!(one(event), (vec![line.to_owned()], vec![]), "{event}");
    }
    for event in [r#"{"kind":"js_error","type":"TypeError","message":"boom"}"#, r#"{"kind":"crash"}"#] {
        let (events, rejected) = one(event);
        assert!(events[0].ends_with(" /home bad") && rejected.is_empty(), "{events:?}");
    }
}

#[test]
fn a_bad_event_costs_only_itself() {
    for (event, reason) in [
        (r#"{}"#, "`kind` is missing or unknown"),
        (r#"{"kind":"Page_View"}"#, "`kind` is missing or unknown"),
        (r#"{"kind":"web_vital","name":"LCP"}"#, "`value` is missing"),
        (r#"{"kind":"web_vital","name":"LCP","value":null}"#, "`value` is missing"),
        (r#"{"kind":"web_vital","name":"LCP","value":-1}"#, "`value` is out of range"),
        (r#"{"kind":"web_vital","name":"LCP","value":3600001}"#, "`value` is out of range"),
        (r#"{"kind":"web_vital","name":"CLS","value":1001}"#, "`value` is out of range"),
        (r#"{"kind":"web_vital","name":"LCP","value":1e308}"#, "`value` is out of range"),
        (r#"{"kind":"web_vital","name":"XYZ","value":1}"#, "`name` is no web vital"),
        (r#"{"kind":"web_vital","value":1}"#, "`name` is missing"),
        (r#"{"kind":"request","status":200}"#, "`path` is missing"),
        (r#"{"kind":"request","path":"/x"}"#, "`status` is missing"),
        (r#"{"kind":"request","path":"/x","status":700}"#, "`status` is out of range"),
        (r#"{"kind":"request","path":"/x","status":-1}"#, "`status` is out of range"),
        (r#"{"kind":"request","path":"/x","status":200.5}"#, "`status` is out of range"),
        (r#"{"kind":"request","path":"/x","status":18446744073709551616}"#, "`status` is out of range"),
        (r#"{"kind":"js_error"}"#, "`message` is missing"),
        (r#"{"kind":"interaction","value":1}"#, "`name` is missing"),
        (r#"{"kind":"step","funnel":"x"}"#, "`step` is missing"),
        (r#"{"kind":"custom"}"#, "`name` is missing"),
        (r#"{"kind":"custom","name":"a b"}"#, "`name` is not 1 to 64 of a-z A-Z 0-9 _ . -"),
        (r#"{"kind":"custom","name":"x","value":-0.5}"#, "`value` is out of range"),
    ] {
        let body = format!(r#"{{"app":"shop","events":[{{"kind":"page_view"}},{event},{{"kind":"page_view"}}]}}"#);
        let (events, rejected) = lines(&body);
        assert_eq!((events.len(), rejected), (2, vec![format!("1: {reason}")]), "{event}");
    }
    for event in [
        "null",
        "5",
        "\"x\"",
        "[]",
        r#"{"kind":"page_view","ts":"12"}"#,
        r#"{"kind":"web_vital","name":"LCP","value":"12"}"#,
        r#"{"kind":"web_vital","name":"LCP","value":1e400}"#,
        r#"{"kind":"page_view","ok":"yes"}"#,
        r#"{"kind":{},"ok":true}"#,
        r#"{"kind":"page_view","kind":"crash"}"#,
        r#"{"kind":"page_view","page":["/"]}"#,
        r#"{"kind":"session","crashed":1}"#,
    ] {
        let body = format!(r#"{{"app":"shop","events":[{{"kind":"page_view"}},{event},{{"kind":"page_view"}}]}}"#);
        let (events, rejected) = lines(&body);
        assert_eq!((events.len(), rejected.len()), (2, 1), "{event}");
        let refused = rejected[0].starts_with("1: not an event: ") || rejected[0].contains("`kind` is missing");
        assert!(refused, "{event}: {rejected:?}");
    }
}

#[test]
fn what_is_no_body_is_refused_whole() {
    let refuse = |body: &[u8]| decode(body, &settings(), &Enrichment::default(), NOW).map(|_| ()).unwrap_err();
    for body in [
        "",
        "nonsense",
        "{",
        r#"{"app":"shop","events":[}"#,
        r#"{"app":NaN}"#,
        r#"{"app":"x"} trailing"#,
        "\u{feff}{}",
        r#"{"app":"shop","events":[{"v":Infinity}]}"#,
    ] {
        assert!(matches!(refuse(body.as_bytes()), Refusal::Json(_)), "{body}");
    }
    for body in [
        "5",
        "null",
        "\"x\"",
        "true",
        "{}",
        r#"{"app":""}"#,
        r#"{"app":" "}"#,
        r#"{"app":null}"#,
        r#"{"app":{}}"#,
        "[5]",
        "[[[[]]]]",
        r#"[{"events":[]}]"#,
        r#"{"app":"a","events":{}}"#,
        r#"{"app":"a","events":5}"#,
    ] {
        assert!(matches!(refuse(body.as_bytes()), Refusal::Shape(_)), "{body}");
    }
    assert!(matches!(refuse(b"{\"app\":\"\xff\"}"), Refusal::Json(_) | Refusal::Shape(_)));
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        for body in [open.repeat(200_000), format!("{}1{}", open.repeat(200_000), close.repeat(200_000))] {
            refuse(body.as_bytes());
        }
    }
    let deep = format!(r#"{{"app":"shop","events":[{{"kind":"page_view","x":{}1{}}}]}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(lines(&deep).0.len(), 1, "what nobody reads may be as deep as it likes");
}

#[test]
fn a_field_of_the_wrong_type_rejects_the_events_of_its_body_only() {
    let body = r#"[{"app":"a","sample_rate":"0.5","events":[{"kind":"page_view"},{"kind":"page_view"}]},
                   {"app":"b","events":[{"kind":"page_view"}]},
                   {"events":[{"kind":"page_view"}]},
                   {"app":"c","region":{},"events":[{"kind":"page_view"}]}]"#;
    let (events, rejected) = lines(body);
    assert_eq!(events, ["page_view hard "]);
    assert_eq!(
        rejected,
        [
            "0: `sample_rate` has the wrong type",
            "1: `sample_rate` has the wrong type",
            "3: there is no `app`",
            "4: `region` has the wrong type"
        ]
    );
    let (events, rejected) = lines(r#"{"app":"shop","user":4711,"flags":5,"v":"x","events":[{"kind":"page_view"}]}"#);
    assert_eq!((events.len(), rejected.len()), (1, 0), "numbers are user ids, and flags only name cohorts");
}

#[test]
fn weights_come_from_the_body_then_from_the_configuration() {
    let weight = |fields: &str| {
        let body = format!(r#"{{{fields},"events":[{{"kind":"page_view"}}]}}"#);
        let from = Enrichment::default();
        let decoded = decode(body.as_bytes(), &settings(), &from, NOW).unwrap();
        decoded.batches.first().and_then(|batch| batch.events.first()).map(|event| event.weight)
    };
    assert_eq!(weight(r#""app":"shop""#), Some(UNIT));
    assert_eq!(weight(r#""app":"rated""#), Some(10 * UNIT));
    assert_eq!(weight(r#""app":"rated","sample_rate":0.5"#), Some(2 * UNIT));
    for bad in ["0", "-1", "1.5", "0.0001", "1e-300"] {
        assert_eq!(weight(&format!(r#""app":"shop","sample_rate":{bad}"#)), None, "{bad}");
    }
}

#[test]
fn headers_fill_in_what_the_body_does_not_say() {
    let mut from = Enrichment { region: "de".into(), ..Enrichment::default() };
    from.agent.device = "phone";
    from.agent.browser = "safari";
    let decode_with = |from: &Enrichment, body: &str| {
        let decoded = decode(body.as_bytes(), &settings(), from, NOW).unwrap();
        let source = &decoded.batches[0].source;
        (source.region.to_string(), source.device.to_string(), source.browser.to_string())
    };
    let plain = r#"{"app":"shop","events":[]}"#;
    let given = r#"{"app":"shop","region":"eu-west","device":"desktop","browser":"Kiosk","events":[]}"#;
    assert_eq!(decode_with(&from, plain), ("de".into(), "phone".into(), "safari".into()));
    assert_eq!(decode_with(&from, given), ("eu-west".into(), "desktop".into(), "Kiosk".into()));
    from.agent.device = "bot";
    assert_eq!(decode_with(&from, given).1, "bot");
}

#[test]
fn whoever_opts_out_is_counted_without_user_and_session() {
    let ask = |settings: &Settings, from: &Enrichment, consent: &str| {
        let body = format!(r#"{{"app":"shop","user":"u","session":"s","consent":{consent},"events":[{{"kind":"session"}}]}}"#);
        let decoded = decode(body.as_bytes(), settings, from, NOW).unwrap();
        decoded.batches.first().map(|batch| (batch.events[0].user.is_some(), batch.events[0].repeat.is_some()))
    };
    let (mut settings, silent) = (settings(), Enrichment::default());
    let signal = Enrichment { opted_out: true, ..Enrichment::default() };
    for consent in ["null", "\"full\"", "true"] {
        assert_eq!(ask(&settings, &silent, consent), Some((true, true)), "{consent}");
        assert_eq!(ask(&settings, &signal, consent), Some((false, false)), "{consent}");
    }
    for consent in ["\"none\"", "false", "\"metrics\""] {
        assert_eq!(ask(&settings, &silent, consent), Some((false, false)), "{consent}");
    }
    settings.consent = OptOut::Drop;
    assert_eq!(ask(&settings, &silent, "\"none\""), None);
    (settings.consent, settings.browser_signal) = (OptOut::Count, OptOut::Count);
    assert_eq!(ask(&settings, &signal, "\"none\""), Some((true, true)));
}

#[test]
fn nothing_personal_reaches_a_dimension() {
    let canary = "ada@example.com";
    let body = format!(
        r#"{{"app":"shop","release":"{canary}","environment":"{canary}","region":"{canary}","device":"{canary}","browser":"{canary}",
            "os":"{canary}","sdk":"{canary}","flags":{{"new_checkout":"{canary}"}},"user":"{canary}","session":"{canary}","page":"/u/{canary}",
            "events":[{{"kind":"page_view"}},{{"kind":"interaction","name":"{canary}","value":1}},{{"kind":"step","funnel":"{canary}","step":"{canary}"}},
            {{"kind":"request","host":"{canary}","path":"/x?token={canary}","method":"{canary}","status":200}},
            {{"kind":"js_error","type":"{canary}","message":"{canary}","stack":"{canary}"}}]}}"#
    );
    let from = Enrichment::default();
    let decoded = decode(body.as_bytes(), &settings(), &from, NOW).unwrap();
    assert!(!format!("{:?}", decoded.batches).contains("ada"), "{:?}", decoded.batches);
    assert!(decoded.redacted.contains(&"release") && decoded.redacted.contains(&"funnel"));
    assert_eq!(decoded.rejected, []);
}

proptest! {
    #[test]
    fn no_body_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes, &settings(), &Enrichment::default(), NOW);
    }

    #[test]
    fn no_change_of_a_real_body_makes_it_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut body = include_bytes!("../../../tests/it/captures/web-vitals/001.json").to_vec();
        for (at, byte) in changes {
            let at = at.index(body.len());
            body[at] = byte;
        }
        if let Ok(decoded) = decode(&body, &settings(), &Enrichment::default(), NOW) {
            let counted: usize = decoded.batches.iter().map(|batch| batch.events.len()).sum();
            prop_assert_eq!(counted + decoded.rejected.len(), decoded.events);
        }
    }
}
