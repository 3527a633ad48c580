//! Routes that the daemon learns: the same after a SIGKILL, never at the cost of a rule or of a total.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::daemon::{Daemon, post};

const CONFIGURATION: &str = "route_values_max = 5\n[aggregation]\nbucket = \"1s\"\nsettle = \"200ms\"\n";
const RULES: &str = r#"slo("gift", #{ objective: 99.0, window: "1d", sli: good("page_view", #{ app: "shop", route: "/product/gift-card" }) });
slo("sale", #{ objective: 99.0, window: "1d", sli: good("page_view", #{ app: "shop", route: "/product/sale-*" }) });"#;
const PRODUCTS: [&str; 12] = [
    "red-shoe",
    "blue-hat",
    "gift-card",
    "grey-coat",
    "sale-lamp",
    "old-chair",
    "tin-cup",
    "wool-sock",
    "ink-pen",
    "wax-candle",
    "jam-jar",
    "tea-pot",
];

/// Views of all products, each `times`.
fn view_all(daemon: &Daemon, times: usize, round: &str) {
    for product in PRODUCTS {
        let view = json!({ "kind": "page_view", "page": format!("https://shop.example.com/product/{product}?ref={round}") });
        let body = json!({ "app": "shop", "id": format!("{round}-{product}"), "events": vec![view; times] });
        let (status, answer) = post(daemon.intake, "/v1/rum?ack=durable", &body.to_string()).expect("it answers");
        assert_eq!(status, 202, "{answer}");
    }
}

fn by_route(daemon: &Daemon) -> BTreeMap<String, u64> {
    let ask = json!({ "metric": "page_view", "where": { "app": "shop" }, "by": ["route"] });
    let (_, answer) = post(daemon.admin, "/v1/query", &ask.to_string()).expect("it answers");
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    let sum = |line: &Value| -> u64 {
        line["points"].as_array().into_iter().flatten().map(|point| point["total"].as_f64().expect("a number") as u64).sum()
    };
    let series = answer["series"].as_array().unwrap_or_else(|| panic!("{answer}"));
    series.iter().map(|line| (line["labels"]["route"].as_str().expect("a text").to_owned(), sum(line))).collect()
}

#[test]
fn what_was_learnt_holds_after_a_kill_and_takes_nothing_from_rules() {
    let mut daemon = Daemon::new(CONFIGURATION, RULES);
    daemon.start();
    view_all(&daemon, 1, "first");
    let before = by_route(&daemon);
    assert!(daemon.log().contains("`/product/:slug`"), "{}", daemon.log());
    daemon.kill();
    daemon.start();
    view_all(&daemon, 10, "second");
    let routes = by_route(&daemon);
    assert_eq!(routes.values().sum::<u64>(), 11 * PRODUCTS.len() as u64, "{routes:?}");
    assert_eq!((routes["/product/gift-card"], routes["/product/sale-lamp"]), (11, 11), "what rules name: {routes:?}");
    // Four of them and the sale had a name when the sixth came; after that only what they share grows.
    assert_eq!(routes["/product/:slug"], before["/product/:slug"] + 10 * 10, "{before:?} {routes:?}");
    assert_eq!(before["/product/:slug"], PRODUCTS.len() as u64 - 2 - 4, "{before:?}");
}
