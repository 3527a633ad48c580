use super::super::captures::{Bench, captures};

fn nel(kind: &str, more: &str) -> String {
    format!(
        r#"{{"age":1000,"type":"network-error","url":"https://api.shop.example/orders/77?t=1","user_agent":"Mozilla/5.0 (Windows NT 10.0) Firefox/140.0","body":{{"type":"{kind}","phase":"connection","method":"POST","elapsed_time":120,"server_ip":"192.0.2.1"{more}}}}}"#
    )
}

#[tokio::test]
async fn captured_reports_are_counted_by_type() {
    let mut bench = Bench::new();
    for capture in captures("reporting-api") {
        let headers: Vec<(&str, &str)> = capture.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
        let (status, answer, body) = bench.post("/v1/reports?app=shop&release=2&key=x", &headers, capture.body.clone()).await;
        assert_eq!((status, answer.contains_key("access-control-allow-origin")), (202, true), "{body}");
    }
    let of = [("app", "shop"), ("release", "2"), ("device", "bot"), ("sdk", "reporting-api")];
    assert_eq!(bench.total("custom:report_csp_violation", &of), (2, 0));
    assert_eq!(bench.total("custom:report_csp_violation", &[("route", "/legacy")]), (1, 0));
    assert_eq!(bench.total("custom:report_deprecation", &of), (2, 0));
}

#[tokio::test]
async fn network_errors_are_requests_with_the_weight_of_their_fraction() {
    let mut bench = Bench::new();
    let list = [
        nel("tcp.timed_out", r#","status_code":0,"sampling_fraction":0.5"#),
        nel("http.error", r#","status_code":503"#),
        nel("ok", r#","status_code":200,"sampling_fraction":0.01"#),
        nel("ok", r#","status_code":500"#),
        nel("abandoned", r#","status_code":0"#),
        nel("dns.unreachable", r#","sampling_fraction":1e-9"#),
    ];
    let (status, _, body) = bench.post("/v1/reports/some-key", &[], format!("[{}]", list.join(","))).await;
    assert_eq!(status, 202);
    assert!(body.starts_with(r#"{"accepted":4,"rejected":[{"index":5,"#), "{body}");
    let of =
        [("app", "api.shop.example"), ("host", "api.shop.example"), ("route", "/orders/:id"), ("method", "POST"), ("browser", "firefox")];
    assert_eq!(bench.total("request", &of), (2 + 1 + 100 + 1, 2 + 1 + 1));
    assert_eq!(bench.total("request", &[("status", "0")]), (2, 2));
}

#[tokio::test]
async fn a_report_that_cannot_be_read_costs_only_itself() {
    let mut bench = Bench::new();
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    let list = format!(
        r#"[3,{{"type":"crash","url":"https://s/pay","body":{{"reason":"oom"}}}},{{"url":"https://s/"}},{{"type":"csp-violation"}},{{"type":"new-thing","url":"https://s/","age":-5,"body":{deep}}},
        {{"type":"intervention","url":"https://s/","age":1e300}}]"#
    );
    let (status, _, body) = bench.post("/v1/reports", &[], list).await;
    let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
    let rejected: Vec<u64> = answer["rejected"].as_array().unwrap().iter().map(|entry| entry["index"].as_u64().unwrap()).collect();
    assert_eq!((status, rejected), (202, vec![0, 2, 3]), "{body}");
    assert_eq!(bench.total("crash", &[("app", "s"), ("route", "/pay")]), (1, 1));
    assert_eq!(bench.total("custom:report_other", &[]), (1, 0));
    assert_eq!(bench.total("custom:report_intervention", &[]), (1, 0));
    for (body, status) in [("", 400), ("x", 400), ("7", 400), ("{}", 202), ("[]", 202)] {
        assert_eq!(bench.post("/v1/reports", &[], body).await.0, status, "{body}");
    }
}
