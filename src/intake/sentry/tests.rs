use super::super::captures::{Bench, captures};
use super::super::tests::settings;
use super::super::{Ordering, Settings};
use super::{accepted, lot};
use http_body_util::BodyExt;

const PATH: &str = "/api/7/envelope/";
const ERROR: &str = r#"{"event_id":"e1","level":"error","release":"web@2","exception":{"values":[{"type":"Cause","value":"c"},{"type":"TypeError","value":"x"}]},"request":{"url":"https://s/pay?t=1"}}"#;

fn envelope(header: &str, items: &[(&str, &str)]) -> String {
    let items: String =
        items.iter().map(|(kind, payload)| format!("{{\"type\":\"{kind}\",\"length\":{}}}\n{payload}\n", payload.len())).collect();
    format!("{header}\n{items}")
}

fn session(sid: &str, second: u32, status: &str) -> String {
    format!(
        r#"{{"sid":"{sid}","init":{},"started":"2026-11-22T15:00:00Z","timestamp":"2026-11-22T15:00:{second:02}Z","status":"{status}","errors":1,"attrs":{{"release":"web@2"}}}}"#,
        second == 0
    )
}

#[tokio::test]
async fn captured_envelopes_are_counted_exactly_with_every_repetition() {
    let mut bench = Bench::new();
    for round in 0..2 {
        for capture in captures("sentry") {
            let (status, _, body) = bench.replay(&capture).await;
            assert_eq!(status, 200, "{} {body}", capture.name);
            let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
            let header = capture.body.split(|byte| *byte == b'\n').next().unwrap();
            let header: serde_json::Value = serde_json::from_slice(header).unwrap();
            assert_eq!(answer["id"], header["event_id"], "{}", capture.name);
        }
        // `sample` was kept with 0.5: its page load, requests and vitals stand for two each.
        assert_eq!(bench.total("page_view", &[("nav", "hard")]), (3 + 2, 0), "round {round}");
        assert_eq!(bench.total("page_view", &[("nav", "soft"), ("route", "/confirmation")]), (1, 0));
        assert_eq!(bench.total("page_view", &[]), (6, 0));
        assert_eq!(bench.total("request", &[]), (3 + 1 + 1 + 6, 2 + 4));
        assert_eq!(bench.total("request", &[("status", "0"), ("route", "/api/drop"), ("method", "GET")]), (1 + 2, 1 + 2));
        // Errors and sessions are not sampled.
        assert_eq!(bench.total("js_error", &[]), (4, 4));
        assert_eq!(bench.total("js_error", &[("route", "/product/:id"), ("cohort", "new_checkout=on")]), (3, 3));
        assert_eq!(bench.total("js_error", &[("route", "/"), ("cohort", "new_checkout=off")]), (1, 1));
        assert_eq!(bench.total("session", &[]), (4, 0));
        assert_eq!(bench.total("crash", &[]), (0, 0));
        assert_eq!(bench.total("lcp", &[("nav", "hard")]), (1 + 1 + 1 + 2, 0));
        assert_eq!(bench.sum("lcp", &[("nav", "hard")]), 2972.0 + 324.0 + 308.0 + 2.0 * 628.0);
        // A soft navigation has an LCP of its own.
        assert_eq!(bench.total("lcp", &[("nav", "soft"), ("route", "/confirmation")]), (1, 0));
        assert!((bench.sum("lcp", &[("nav", "soft")]) - 22.4).abs() < 0.001);
        assert_eq!((bench.total("cls", &[("nav", "hard")]), bench.total("cls", &[("nav", "soft")])), ((5, 0), (1, 0)));
        assert_eq!(bench.sum("fcp", &[]), 336.0 + 324.0 + 268.0 + 2.0 * 628.0);
        assert!((bench.sum("ttfb", &[]) - (15.5 + 17.4 + 2.0 * 42.7)).abs() < 0.001);
        assert_eq!((bench.total("inp", &[]), bench.sum("inp", &[])), ((3, 0), 264.0 + 272.0 + 16.0));
        assert_eq!(bench.total("interaction", &[("name", "click")]), (3, 0));
        // Vitals say their page load only; it was seen.
        assert_eq!(bench.total("lcp", &[("route", "/product/:id")]), (1 + 1 + 2, 0));
        assert_eq!(bench.total("lcp", &[("route", "/")]), (1, 0));
    }
    assert_eq!((bench.values("app"), bench.values("release")), (vec!["shop".to_owned()], vec!["1.4.0".to_owned()]));
    assert_eq!(bench.values("environment"), ["production"]);
    assert_eq!(bench.values("sdk"), ["sentry.javascript.browser/11.12.0"]);
    assert_eq!(bench.values("device"), ["bot"]);
}

#[tokio::test]
async fn a_session_is_a_state_and_only_crashed_is_a_crash() {
    let mut bench = Bench::new();
    for (sid, second, status) in
        [("a", 0, "ok"), ("a", 9, "crashed"), ("a", 5, "errored"), ("b", 0, "ok"), ("b", 3, "unhandled"), ("c", 4, "abnormal")]
    {
        assert_eq!(bench.post(PATH, &[], envelope("{}", &[("session", &session(sid, second, status))])).await.0, 200);
    }
    assert_eq!(bench.total("session", &[("app", "web"), ("release", "2")]), (3, 1));
    assert_eq!(bench.total("crash", &[]), (1, 1));
    // A native crash: event and session of one envelope are one crash.
    let fatal = ERROR.replace("error\"", "fatal\"").replace("e1", "e2");
    let both = envelope("{}", &[("event", &fatal), ("session", &session("d", 8, "crashed"))]);
    bench.post(PATH, &[], both).await;
    assert_eq!((bench.total("crash", &[]), bench.total("session", &[]), bench.total("js_error", &[])), ((2, 2), (4, 2), (0, 0)));
    // Ready-made counts, more than are kept apart.
    let counted = r#"{"aggregates":[{"started":"2026-11-22T15:00:00Z","exited":2500,"crashed":7},{"exited":1000000},{"exited":"x"}],"attrs":{"release":"api@1"}}"#;
    bench.post(PATH, &[], envelope("{}", &[("sessions", counted)])).await;
    assert_eq!(bench.total("session", &[("app", "api")]), (2507, 7));
}

#[tokio::test]
async fn events_count_once_by_their_id() {
    // What is no id is not said back: it could be anything.
    const ID: &str = "fc6d8c0c43fc4630ad850ee518f1b9d0";
    let mut bench = Bench::new();
    for pad in ["", " ", "  "] {
        let (status, _, body) = bench.post(PATH, &[], envelope(&format!("{{\"event_id\":\"{ID}\"{pad}}}"), &[("event", ERROR)])).await;
        assert_eq!((status, body), (200, format!("{{\"id\":\"{ID}\"}}")));
    }
    assert_eq!(bench.total("js_error", &[("app", "web"), ("route", "/pay")]), (1, 1));
    bench.post(PATH, &[], envelope("{}", &[("event", &ERROR.replace("e1", "e2").replace("web@2", "2"))])).await;
    assert_eq!(bench.total("js_error", &[("app", "7"), ("release", "2")]), (1, 1), "without a name in the release the project is the app");
    bench
        .post(PATH, &[], envelope("{}", &[("event", r#"{"event_id":"m","message":"hello","level":"error"}"#), ("replay_event", "{}")]))
        .await;
    assert_eq!(bench.total("js_error", &[]), (2, 2), "a message is no error");
}

#[tokio::test]
async fn transactions_of_older_versions_are_read_too() {
    let mut bench = Bench::new();
    let transaction = r#"{"event_id":"t1","release":"web@9","transaction":"/order/:id","start_timestamp":1795362371.2,"timestamp":1795362373.2,
        "contexts":{"trace":{"op":"pageload","span_id":"p1","trace_id":"0123456789abcdef0123456789abcdef","status":"ok"}},
        "measurements":{"lcp":{"value":1800,"unit":"millisecond"},"cls":{"value":0.05},"inp":7},"tags":[["new_checkout","b"],["x"]],
        "spans":[{"op":"http.client","description":"POST https://api.s/pay?x=1","span_id":"h1","status":"internal_error","start_timestamp":1.0,"timestamp":1.25},
                 {"op":"http.client","description":"GET https://api.s/ok","span_id":"h2","status":"ok","data":{"http.response.status_code":204}},
                 {"op":"resource.script","span_id":"r"},{"op":"http.client","span_id":"h3"}, 3]}"#
        .replace('\n', "");
    for pad in ["", " "] {
        let body = envelope(&format!(r#"{{"trace":{{"sample_rate":"0.25"}}{pad}}}"#), &[("transaction", &transaction)]);
        assert_eq!(bench.post(PATH, &[], body).await.0, 200);
    }
    let here = [("app", "web"), ("cohort", "new_checkout=b"), ("route", "/order/:id")];
    assert_eq!(bench.total("page_view", &here), (4, 0));
    assert_eq!((bench.total("lcp", &here), bench.sum("lcp", &here)), ((4, 0), 7200.0));
    assert_eq!((bench.total("cls", &here), bench.total("inp", &[])), ((4, 0), (0, 0)));
    assert_eq!(bench.total("request", &[("host", "api.s"), ("method", "POST"), ("route", "/pay")]), (4, 4));
    assert_eq!(bench.total("request", &[]), (8, 4));
    // A vital by itself, of the page load above, and once more with its last value.
    for (id, value) in [("v1", 100), ("v2", 180)] {
        let span = format!(
            r#"{{"op":"ui.interaction.click","span_id":"{id}","segment_id":"p1","start_timestamp":5.0,"timestamp":5.{value},"data":{{"sentry.release":"web@9"}},"measurements":{{"inp":{{"value":{value}}}}}}}"#
        );
        bench.post(PATH, &[], envelope("{}", &[("span", &span)])).await;
    }
    assert_eq!((bench.total("inp", &[("route", "/order/:id")]), bench.sum("inp", &[])), ((1, 0), 180.0));
    assert_eq!(bench.total("interaction", &[("name", "click")]), (2, 0));
}

#[tokio::test]
async fn what_is_broken_costs_only_itself() {
    let mut bench = Bench::new();
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    let spans = format!(
        r#"{{"items":[{{"attributes":{{"sentry.op":{{"value":"pageload"}},"x":{deep},"y":{{"value":{deep}}}}}}},7,{{"status":"ok","attributes":{{"sentry.op":{{"value":"http.client"}}}}}},
        {{"attributes":{{"sentry.op":{{"value":"ui.webvital.lcp"}},"browser.web_vital.lcp.value":{{"value":1e300}}}}}}]}}"#
    );
    let items = [
        ("event", "nonsense"),
        ("event", deep.as_str()),
        ("session", "{}"),
        ("span", &spans),
        ("unheard_of", "x"),
        ("client_report", "[]"),
        ("event", ERROR),
    ];
    let (status, ..) = bench
        .post(PATH, &[], envelope(&format!(r#"{{"sent_at":7e300,"sdk":[],"trace":{{"sample_rate":"0.5"}},"x":{deep}}}"#), &items))
        .await;
    assert_eq!(status, 200);
    assert_eq!((bench.total("page_view", &[]), bench.total("js_error", &[]), bench.total("request", &[])), ((2, 0), (1, 1), (0, 0)));
    assert_eq!(bench.total("lcp", &[]), (0, 0));
    let lying = envelope(r#"{"trace":{"sample_rate":"1e-12"}}"#, &[("span", &spans), ("event", &ERROR.replace("e1", "e9"))]);
    assert_eq!(bench.post(PATH, &[], lying).await.0, 200);
    assert_eq!((bench.total("page_view", &[]), bench.total("js_error", &[])), ((2, 0), (2, 2)), "the rate is only of spans");
    for (body, status) in
        [("", 400), ("nonsense", 400), ("[]\n", 400), ("{}", 200), ("{}\n{\"type\":\"event\",\"length\":99999999999}\n{", 200)]
    {
        assert_eq!(bench.post(PATH, &[], body).await.0, status, "{body}");
    }
    for (path, status) in [
        ("/api/7/envelope", 200),
        ("/api/envelope/", 404),
        ("/api//envelope/", 404),
        ("/api/7/8/envelope/", 404),
        ("/api/7/storeroom/", 404),
        ("/api/7/8/store/", 404),
    ] {
        assert_eq!(bench.post(path, &[], "{}").await.0, status, "{path}");
    }
}

#[tokio::test]
async fn the_key_is_in_the_query_or_in_the_header() {
    let mut bench = Bench::with(Settings { keys: ["k1".to_owned()].into(), ..settings() });
    for (path, auth, status) in [
        ("/api/1/envelope/?sentry_version=7&sentry_key=k1", "", 200),
        ("/api/1/envelope/", "Sentry sentry_version=7, sentry_client=x/1, sentry_key=k1", 200),
        ("/api/1/envelope/?sentry_key=k2", "", 401),
        ("/api/1/envelope/", "", 401),
        ("/api/k1/envelope/", "", 401),
    ] {
        assert_eq!(bench.post(path, &[("x-sentry-auth", auth)], "{}").await.0, status, "{path} {auth}");
    }
}

#[tokio::test]
async fn overload_never_sends_sentry_away_and_sessions_stay_whole() {
    let mut bench = Bench::with(Settings { rate_per_source: 0, ..settings() });
    bench.intake.thinning.store(4, Ordering::Relaxed);
    for n in 0..400 {
        for (second, status) in [(0, "ok"), (5, "errored"), (9, "crashed")] {
            assert_eq!(bench.post(PATH, &[], envelope("{}", &[("session", &session(&format!("sid{n}"), second, status))])).await.0, 200);
        }
    }
    let (total, bad) = bench.total("session", &[]);
    assert!((280..520).contains(&total) && total % 4 == 0, "{total}");
    assert_eq!(bad, total, "of a session that is kept all updates are");
    assert_eq!(lot(b"{}\n{\"type\":\"session\"}\n{\"sid\":\"abc\",\"x\":1}"), b"abc");
    assert_eq!(lot(b"{\"trace\":{\"trace_id\":\"t1\"}}"), b"t1");
    assert_eq!(lot(b"{\"sid\":\"without end"), b"{\"sid\":\"without end");
}

#[tokio::test]
async fn answers_are_what_sentry_says() {
    for (id, body) in [(Some("a\"b"), r#"{"id":"a\"b"}"#), (None, "{}")] {
        let answer = accepted(id);
        assert_eq!((answer.status().as_u16(), &answer.into_body().collect().await.unwrap().to_bytes()[..]), (200, body.as_bytes()));
    }
}

#[tokio::test]
async fn sdks_from_before_envelopes_send_one_event_by_itself() {
    const STORE: &str = "/api/7/store/?sentry_version=7&sentry_client=raven-js%2F3.27.2&sentry_key=k1";
    const ID: &str = "fc6d8c0c43fc4630ad850ee518f1b9d0";
    let mut bench = Bench::with(Settings { keys: ["k1".to_owned()].into(), rate_per_source: 0, ..settings() });
    let event = |id: &str, more: &str| {
        format!(
            r#"{{"event_id":"{id}","project":"7","logger":"javascript","release":"web@2","sdk":{{"name":"raven-js","version":"3.27.2"}},{more}}}"#
        )
    };
    let thrown = r#""exception":{"values":[{"type":"TypeError","value":"x","stacktrace":{"frames":[{"function":"pay","filename":"/a.js","lineno":1}]}}]},"request":{"url":"https://s/pay?t=1"}"#;
    for pad in ["", "\n"] {
        let (status, _, body) = bench.post(STORE, &[("content-type", "text/plain")], event(ID, &format!("{thrown}{pad}"))).await;
        assert_eq!((status, body), (200, format!("{{\"id\":\"{ID}\"}}")));
    }
    assert_eq!(bench.total("js_error", &[("app", "web"), ("release", "2"), ("route", "/pay"), ("sdk", "raven-js/3.27.2")]), (1, 1));
    // The two older ways to write exceptions, and what is none.
    bench.post(STORE, &[], event("e2", r#""exception":[{"type":"A","value":"b"}]"#)).await;
    bench.post(STORE, &[], event("e3", r#""exception":{"type":"A","value":"b"},"level":"fatal""#)).await;
    bench.post(STORE, &[], event("e4", r#""message":"hello","level":"error","type":"default""#)).await;
    assert_eq!((bench.total("js_error", &[]), bench.total("crash", &[])), ((2, 2), (1, 1)));
    let view = r#""type":"transaction","transaction":"/cart","start_timestamp":1.0,"timestamp":2.5,"contexts":{"trace":{"op":"pageload","span_id":"p"}},"measurements":{"lcp":{"value":900}}"#;
    bench.post(STORE, &[], event("t1", view)).await;
    assert_eq!((bench.total("page_view", &[("route", "/cart")]), bench.sum("lcp", &[("route", "/cart")])), ((1, 0), 900.0));
    for (path, body, status) in [("/api/7/store/", "{}", 401), (STORE, "[]", 400), (STORE, "x", 400), (STORE, "", 400), (STORE, "{}", 200)]
    {
        assert_eq!(bench.post(path, &[], body).await.0, status, "{path} {body}");
    }
}
