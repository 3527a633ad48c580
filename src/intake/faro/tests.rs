use super::super::Settings;
use super::super::captures::{Bench, captures};
use super::super::endpoint::{Endpoint, Overload};
use super::super::tests::settings;
use std::sync::atomic::Ordering;

fn payload(session: &str, url: &str, items: &str) -> String {
    format!(r#"{{"meta":{{"app":{{"name":"shop","version":"2"}},"session":{{"id":"{session}"}},"page":{{"url":"{url}"}}}},{items}}}"#)
}

async fn send(bench: &mut Bench, session: &str, url: &str, items: &str) {
    let (status, _, body) = bench.post("/collect", &[], payload(session, url, items)).await;
    assert_eq!(status, 202, "{body}");
    assert!(body.contains(r#""rejected":[]"#), "{body}");
}

fn event(name: &str, second: u32, attributes: &str) -> String {
    format!(r#"{{"name":"{name}","timestamp":"2026-11-22T15:00:{second:02}.000Z","attributes":{attributes}}}"#)
}

#[tokio::test]
async fn captured_pages_are_counted_exactly_with_every_repetition() {
    let mut bench = Bench::new();
    for _ in 0..2 {
        for capture in captures("faro") {
            let (status, headers, body) = bench.replay(&capture).await;
            assert_eq!(status, 202, "{} {body}", capture.name);
            assert!(headers["access-control-allow-origin"].to_str().unwrap().starts_with("http://127.0.0.1:"));
            assert!(body.contains(r#""rejected":[]"#), "{} {body}", capture.name);
        }
        // Five pages were loaded: bad, clean twice, gzip, fail503; of `sample` only the end was kept.
        assert_eq!(bench.total("page_view", &[("nav", "hard")]), (5, 0));
        // Faro sent no event for it; the address says that checkout became confirmation.
        assert_eq!(bench.total("page_view", &[("nav", "soft")]), (1, 0));
        assert_eq!(bench.total("page_view", &[("nav", "soft"), ("route", "/confirmation")]), (1, 0));
        assert_eq!(bench.total("js_error", &[]), (4, 4));
        assert_eq!(bench.total("crash", &[]), (0, 0));
        assert_eq!(bench.total("request", &[]), (11, 6));
        assert_eq!(bench.total("request", &[("route", "/api/drop"), ("status", "0")]), (3, 3));
        assert_eq!(bench.total("request", &[("route", "/api/fail"), ("status", "5xx")]), (3, 3));
        assert_eq!(bench.total("session", &[]), (4, 0));
        assert_eq!(bench.total("interaction", &[("name", "buy")]), (5, 0));
        for (vital, count, sum) in [
            ("lcp", 5, 3180.0 + 1008.0 + 288.0 + 328.0 + 452.0),
            ("fcp", 5, 852.0 + 1008.0 + 288.0 + 328.0 + 252.0),
            ("inp", 4, 88.0 + 48.0 + 104.0 + 32.0),
            ("cls", 5, 0.08727 * 3.0),
        ] {
            assert_eq!(bench.total(vital, &[("nav", "hard")]), (count, 0), "{vital}");
            assert!((bench.sum(vital, &[]) - sum).abs() < 0.001, "{vital}: {}", bench.sum(vital, &[]));
        }
        // INP was reported when the page had moved on already.
        assert_eq!(bench.sum("inp", &[("route", "/checkout")]), 88.0 + 48.0 + 104.0);
        assert_eq!(bench.total("inp", &[("route", "/confirmation")]), (0, 0));
    }
    assert_eq!(bench.values("app"), ["shop"]);
    assert_eq!(bench.values("release"), ["1.4.0"]);
    assert_eq!(bench.values("environment"), ["production"]);
    assert_eq!(bench.values("sdk"), ["faro-web/2.12.1"]);
    assert_eq!(bench.values("device"), ["bot"]);
    assert_eq!((bench.values("browser"), bench.values("os")), (vec!["chrome".to_owned()], vec!["linux".to_owned()]));
    assert_eq!(bench.values("cohort"), ["new_checkout=off", "new_checkout=on"]);
}

#[tokio::test]
async fn traces_win_over_resource_timing_in_any_order() {
    let fetch = |n: u32| {
        event("faro.tracing.fetch", n, r#"{"http.request.method":"POST","url.full":"https://s/api/pay","http.response.status_code":"500"}"#)
    };
    let resource =
        |n: u32| event("faro.performance.resource", n, r#"{"initiatorType":"fetch","name":"https://s/api/pay","responseStatus":"500"}"#);
    let image = event("faro.performance.resource", 9, r#"{"initiatorType":"img","name":"https://s/x.png","responseStatus":"404"}"#);
    let mut bench = Bench::new();
    for n in 1..=3 {
        send(&mut bench, "a", "https://s/", &format!(r#""events":[{},{image}]"#, resource(n))).await;
    }
    assert_eq!(bench.total("request", &[("method", "")]), (3, 3), "without traces the timing is all there is");
    send(&mut bench, "a", "https://s/", &format!(r#""events":[{},{}]"#, fetch(4), fetch(5))).await;
    assert_eq!(bench.total("request", &[]), (3, 3), "they were counted already");
    send(&mut bench, "b", "https://s/", &format!(r#""events":[{},{}]"#, resource(6), fetch(6))).await;
    assert_eq!((bench.total("request", &[]), bench.total("request", &[("method", "POST")])), ((4, 4), (1, 1)));
    send(&mut bench, "b", "https://s/", &format!(r#""events":[{}]"#, resource(7))).await;
    assert_eq!(bench.total("request", &[]), (4, 4), "this release sends traces");
}

#[tokio::test]
async fn posts_to_the_intake_are_nobodys_requests() {
    let resource = |n: u32, url: &str| {
        event("faro.performance.resource", n, &format!(r#"{{"initiatorType":"fetch","name":"{url}","responseStatus":"202"}}"#))
    };
    let mut bench = Bench::new();
    let own = ["https://Rum.example:8443/collect?key=public", "https://rum.example:8443/collect/public"];
    let others = ["https://rum.example:8443/collected", "https://shop.example/collect", "/collect"];
    let events: Vec<String> = own.iter().chain(&others).map(|url| resource(1, url)).collect();
    let body = payload("a", "https://shop.example/", &format!(r#""events":[{}]"#, events.join(",")));
    let (status, ..) = bench.post("/collect?key=public", &[("host", "rum.example:8443")], body).await;
    assert_eq!(status, 202);
    assert_eq!(bench.total("request", &[]), (3, 0));
}

#[tokio::test]
async fn a_soft_navigation_counts_once_however_it_is_told() {
    let mut bench = Bench::new();
    let session = "s1";
    let start = event("session_start", 0, "{}");
    send(&mut bench, session, "https://s/cart", &format!(r#""events":[{start}]"#)).await;
    send(&mut bench, session, "https://s/cart?x=2#y", &format!(r#""events":[{}]"#, event("click", 1, "{}"))).await;
    assert_eq!(bench.total("page_view", &[]), (0, 0));
    let told = format!(
        r#""events":[{},{},{}]"#,
        event("faro.navigation", 10, r#"{"fromUrl":"https://s/cart","toUrl":"https://s/pay/77"}"#),
        event("route_change", 10, r#"{"toRoute":"/pay/:order","toUrl":"https://s/pay/77"}"#),
        event("view_changed", 10, r#"{"fromView":"cart","toView":"pay"}"#),
    );
    send(&mut bench, session, "https://s/pay/77", &told).await;
    assert_eq!(bench.total("page_view", &[("nav", "soft"), ("route", "/pay/:id")]), (1, 0));
    assert_eq!(bench.total("page_view", &[]), (1, 0));
    // By the address alone, and then by its event in the next post.
    send(&mut bench, session, "https://s/thanks", &format!(r#""events":[{}]"#, event("click", 30, "{}"))).await;
    send(&mut bench, session, "https://s/thanks", &format!(r#""events":[{}]"#, event("faro.navigation", 30, "{}"))).await;
    assert_eq!(bench.total("page_view", &[("nav", "soft")]), (2, 0));
    // A vital of which nobody knows the page has no route, and neither has anything in its place.
    let lcp = r#""measurements":[{"type":"web-vitals","timestamp":"2026-11-22T15:00:40Z","values":{"lcp":900},"context":{"id":"v1","navigation_entry_id":"unknown"}}]"#;
    send(&mut bench, session, "https://s/thanks", lcp).await;
    assert_eq!((bench.total("lcp", &[("route", "")]), bench.total("lcp", &[])), ((1, 0), (1, 0)));
    // The first view of a page is no navigation.
    send(
        &mut bench,
        "s2",
        "https://s/",
        &format!(r#""events":[{}]"#, event("view_changed", 1, r#"{"fromView":"unknown","toView":"home"}"#)),
    )
    .await;
    assert_eq!(bench.total("page_view", &[]), (2, 0));
}

#[tokio::test]
async fn fatal_exceptions_are_crashes_of_the_session() {
    let mut bench = Bench::new();
    let start = event("session_start", 0, "{}");
    send(&mut bench, "s1", "https://s/", &format!(r#""events":[{start}]"#)).await;
    let broken = r#""exceptions":[{"type":"ANR","value":"stuck","fatal":true,"timestamp":"2026-11-22T15:00:02Z"},{"type":"E","value":"x","timestamp":"2026-11-22T15:00:02Z"}]"#;
    send(&mut bench, "s1", "https://s/", broken).await;
    send(&mut bench, "s1", "https://s/", &format!(r#""events":[{}]"#, event("session_resume", 9, "{}"))).await;
    assert_eq!(bench.total("crash", &[]), (1, 1));
    assert_eq!(bench.total("js_error", &[]), (1, 1));
    assert_eq!(bench.total("session", &[]), (1, 1));
}

#[tokio::test]
async fn attributes_say_what_to_make_of_it() {
    let mut bench = Bench::new();
    let body = |app: &str, attributes: &str| {
        format!(
            r#"{{"meta":{{"app":{{"name":"{app}"}},"user":{{"id":"u","attributes":{{"new_checkout":"b"}}}},"session":{{"id":"s","attributes":{attributes}}},
            "device":{{"type":"tablet"}},"geo":{{"country_iso":"DE"}},"view":{{"name":"Basket"}}}},"events":[{{"name":"session_start"}},{{"name":"faro.performance.navigation","attributes":{{"responseStatus":"503","name":"https://s/x"}}}}]}}"#
        )
    };
    bench.post("/collect", &[], body("a", r#"{"sample_rate":"0.25"}"#)).await;
    assert_eq!(bench.total("page_view", &[("app", "a"), ("cohort", "new_checkout=b"), ("region", "de"), ("device", "tablet")]), (4, 4));
    assert_eq!(bench.total("page_view", &[("app", "a"), ("route", "Basket")]), (4, 4));
    let (status, _, text) = bench.post("/collect", &[], body("b", r#"{"sample_rate":"1e-9"}"#)).await;
    assert_eq!((status, text.matches("sample_rate").count()), (202, 2), "{text}");
    // Without consent nobody is told apart: the session is not a session any more.
    bench.post("/collect", &[], body("c", r#"{"consent":"none"}"#)).await;
    assert_eq!((bench.total("page_view", &[("app", "c")]), bench.total("session", &[("app", "c")])), ((1, 1), (0, 0)));
    assert!(bench.cells.iter().filter(|((_, dims), _)| dims["app"] == "c").all(|(_, cell)| cell.users.is_empty()));
}

#[tokio::test]
async fn what_is_broken_costs_only_itself() {
    let mut bench = Bench::new();
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    let items = format!(
        r#""events":[7,{{"name":"faro.performance.navigation","unheard_of":{deep}}},{{"name":{deep}}},{{"name":"faro.user.action","attributes":{{"userActionDuration":"1e300","userActionName":"x"}}}},
        {{"name":"faro.user.action","attributes":[]}},{{"name":"faro.tracing.fetch","attributes":{{"http.request.method":"GET","url.full":"/x","http.response.status_code":"99999999999999999999"}}}}],
        "exceptions":[null,{{"type":[],"value":9,"stacktrace":{{"frames":[3,{{"lineno":1e400}},{{"function":"pay"}}]}}}}],
        "measurements":[{{"type":"web-vitals","values":{{"lcp":-1}}}},{{"type":"web-vitals","values":{{"cls":"much"}}}},{{"type":"web-vitals","values":{{"lcp":1200,"delta":{deep}}}}}],"logs":{deep},"traces":7"#
    );
    let (status, _, body) = bench.post("/collect", &[], payload("s", "https://s/", &items)).await;
    assert_eq!(status, 202);
    let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
    let rejected: Vec<u64> = answer["rejected"].as_array().unwrap().iter().map(|entry| entry["index"].as_u64().unwrap()).collect();
    assert_eq!(rejected, [0, 3, 4, 5, 6, 8, 9], "{body}");
    assert_eq!(bench.total("page_view", &[]), (1, 0));
    assert_eq!(bench.total("js_error", &[]), (1, 1));
    assert_eq!((bench.total("lcp", &[]), bench.sum("lcp", &[])), ((1, 0), 1200.0));
    for (body, status) in [
        ("", 400),
        ("nonsense", 400),
        ("{}", 400),
        ("[]", 400),
        (r#"{"meta":7}"#, 400),
        (r#"{"meta":{"app":{"name":""}}}"#, 400),
        (r#"{"meta":{"app":{"name":"x"}}}"#, 202),
        (r#"{"meta":{"app":{"name":"x"},"sdk":[]},"events":{},"exceptions":"x","measurements":null}"#, 202),
    ] {
        assert_eq!(bench.post("/collect", &[], body).await.0, status, "{body}");
    }
}

#[tokio::test]
async fn keys_come_in_header_or_path_and_overload_sends_clients_back() {
    let mut bench = Bench::with(Settings { keys: ["k1".to_owned()].into(), ..settings() });
    let body = payload("s", "https://s/", r#""events":[{"name":"faro.performance.navigation"}]"#);
    for (path, header, status) in [
        ("/collect", "k1", 202),
        ("/collect/k1", "", 202),
        ("/collect", "", 401),
        ("/collect", "k2", 401),
        ("/collect/k1/x", "", 404),
        ("/collector", "k1", 404),
    ] {
        assert_eq!(bench.post(path, &[("x-api-key", header)], body.clone()).await.0, status, "{path} {header}");
    }
    assert_eq!(bench.total("page_view", &[]), (1, 0), "equal bodies from one source");
    assert_eq!(Endpoint::Faro.overload(), Overload::Refuse);
    bench.intake.thinning.store(2, Ordering::Relaxed);
    let (status, headers, _) = bench.post("/collect/k1", &[("idempotency-key", "i1")], payload("s2", "https://s/", r#""events":[]"#)).await;
    assert_eq!((status, headers["retry-after"].to_str().unwrap()), (503, "1"));
}

#[tokio::test]
async fn an_idempotency_key_counts_once_also_after_a_restart() {
    let mut bench = Bench::new();
    let view = |pad: &str| payload("s", "https://s/", &format!(r#""events":[{{"name":"faro.performance.navigation"}}]{pad}"#));
    bench.post("/collect", &[("idempotency-key", "i1")], view("")).await;
    let seen = bench.sink.drain().1.seen;
    // Another process that has read what the first one stored; the body comes in other bytes.
    let fresh = Bench::new();
    (bench.sink, bench.intake) = (fresh.sink, fresh.intake);
    bench.sink.with(|aggregator| aggregator.recall_seen(seen));
    let (status, _, body) = bench.post("/collect", &[("idempotency-key", "i1")], view(" ")).await;
    assert_eq!((status, body.as_str()), (202, r#"{"accepted":0,"rejected":[],"duplicate":1}"#));
    bench.post("/collect", &[("idempotency-key", "i2")], view("  ")).await;
    assert_eq!(bench.total("page_view", &[]), (1, 0));
}

#[tokio::test]
async fn what_the_app_pushes_itself_is_a_metric_of_its_own() {
    let mut bench = Bench::new();
    let items = format!(
        r#""events":[{},{},{},{},{},{},{}],"measurements":[{{"type":"cart","values":{{"items":3,"sum":20.5,"note":"x"}}}},{{"type":"cart","values":{{"items":-1}}}},{{"values":{{"lost":1}}}}]"#,
        event("search", 1, r#"{"value":"12"}"#),
        event("add to cart", 2, r#"{"ok":"FALSE"}"#),
        event("pay ada@example.com", 3, "{}"),
        event("", 4, "{}"),
        // Faro's own.
        event("session_extend", 5, "{}"),
        event("faro.unheard_of", 6, "{}"),
        event("service_name_override", 7, "{}"),
    );
    let (status, _, body) = bench.post("/collect", &[], payload("s", "https://s/cart?x=1", &items)).await;
    assert_eq!(status, 202);
    let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
    let rejected: Vec<u64> = answer["rejected"].as_array().unwrap().iter().map(|entry| entry["index"].as_u64().unwrap()).collect();
    assert_eq!(rejected, [2, 8], "{body}");
    assert_eq!((bench.total("custom:search", &[("route", "/cart")]), bench.sum("custom:search", &[])), ((1, 0), 12.0));
    assert_eq!(bench.total("custom:add_to_cart", &[]), (1, 1));
    assert_eq!((bench.sum("custom:cart.items", &[]), bench.sum("custom:cart.sum", &[])), (3.0, 20.5));
    let metrics: std::collections::BTreeSet<&str> = bench.cells.keys().map(|(name, _)| name.as_str()).collect();
    let soft = ["custom:add_to_cart", "custom:cart.items", "custom:cart.sum", "custom:search"];
    assert_eq!(metrics, soft.into());
}
