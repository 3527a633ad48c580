//! `burnwatch backtest` over a database: what beacons left behind, fine and rolled up.

use std::process::Command;
use std::sync::Arc;

use burnwatch::clock::{Clock, SystemClock};
use burnwatch::domain::cell::{Cell, Counts};
use burnwatch::domain::metric::Metric;
use burnwatch::domain::segment::Writer;
use burnwatch::domain::series::Series;
use burnwatch::domain::time::{Span, Timestamp};
use burnwatch::store::{Store, archive, chunk, partial, series, writer};
use serde_json::Value;

const RULES: &str = r#"slo("api", #{ objective: 99, service: "s", sli: good("request", #{ app: "a" }),
    alert: [ page(#{ long: "1h", short: "5m", factor: 10 }) ] });"#;

/// Live traffic of one app: 100 requests a minute, of which half fail for ten minutes from each of `faults` on.
async fn fill(store: &Store, from: Timestamp, to: Timestamp, faults: &[Timestamp]) {
    let mut tx = store.write().await.unwrap();
    let dims = [("app", "a"), ("region", "de")].map(|(k, v)| (Arc::from(k), Arc::from(v)));
    let id = series::intern(&mut tx, &[Series::new(Metric::Request, dims)]).await.unwrap()[0];
    writer::open(&mut tx, "w", "intake", from).await.unwrap();
    let mut packed = Writer::default();
    for slice in from.0 / 60_000..to.0 / 60_000 {
        let fault = faults.iter().any(|fault| (fault.0 / 60_000..fault.0 / 60_000 + 10).contains(&slice));
        let bad = if fault { 50 } else { 0 };
        packed.push(id, slice, &Cell { counts: Counts::plain(100, bad), bad_sq: i128::from(bad * 1_000_000), ..Cell::default() });
    }
    assert!(partial::append(&mut tx, "w", 1, to, &packed.finish()).await.unwrap());
    tx.commit().await.unwrap();
}

fn backtest(folder: &std::path::Path, args: &[&str]) -> (Value, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_burnwatch"))
        .current_dir(folder)
        .args(["backtest", "rules", "--json"])
        .args(args)
        .env("BURNWATCH_DATABASE__URL", format!("sqlite://{}/data/burnwatch.db", folder.display()))
        .output()
        .unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{errors}");
    (serde_json::from_slice(&output.stdout).unwrap(), errors)
}

fn alerts(found: &Value) -> Vec<(Timestamp, Option<Timestamp>)> {
    let time = |value: &Value| value.as_str().map(|text| text.parse::<Timestamp>().unwrap());
    found["alerts"].as_array().unwrap().iter().map(|alert| (time(&alert["started_at"]).unwrap(), time(&alert["ended_at"]))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_is_fine_as_long_as_it_is_kept_and_rolled_up_before() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("rules")).unwrap();
    std::fs::write(folder.path().join("rules/rules.rhai"), RULES).unwrap();
    let now = SystemClock.now();
    let store = Store::open(&format!("sqlite://{}/data/burnwatch.db", folder.path().display()), now).await.unwrap();
    let hour = now.floor(Span::HOUR);
    let (old, new) = (hour - Span::days(10), hour - Span::HOUR);
    fill(&store, hour - Span::days(11), hour, &[old, new]).await;

    // Not compacted yet: fine buckets of everything, wherever they lie.
    let (found, _) = backtest(folder.path(), &["--from", "-5d"]);
    // Half of 100 fail: the hour passes 10 % with the thirteenth minute, but the fault lasts ten.
    assert_eq!(alerts(&found), []);
    std::fs::write(folder.path().join("rules/rules.rhai"), RULES.replace("factor: 10", "factor: 5")).unwrap();
    let (found, _) = backtest(folder.path(), &["--from", "-5d"]);
    // With factor 5 it takes 301 of 6000: the seventh minute.
    assert_eq!(alerts(&found), [(new + Span::minutes(7), Some(new + Span::minutes(15)))]);

    let mut tx = store.write().await.unwrap();
    assert_eq!(archive::compact(&mut tx, Span::MINUTE, now + Span::HOUR, 10).await.unwrap(), 1);
    let [fine, ..] = archive::levels(Span::MINUTE);
    chunk::delete_before(&mut tx, fine.slice.0, (now - Span::days(8)).0).await.unwrap();
    tx.commit().await.unwrap();
    let (found, errors) = backtest(folder.path(), &["--from", &(old - Span::HOUR).to_string()]);
    assert!(errors.contains("5-minute rollups"), "{errors}");
    let both = alerts(&found);
    assert_eq!((both.len(), both[1].0), (2, new + Span::minutes(7)), "{found}");
    // Two rollups of five minutes are needed to pass 5 %.
    assert_eq!(both[0], (old + Span::minutes(10), Some(old + Span::minutes(15))));
}
