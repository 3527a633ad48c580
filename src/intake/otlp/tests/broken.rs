//! What is not as it should be: records, encodings, bodies, bombs.

use super::*;

#[test]
fn one_bad_record_costs_only_itself() {
    let good = log("browser.navigation", &[]);
    let deep = format!(
        r#"{{"eventName":"browser.navigation","body":{}1{}}}"#,
        r#"{"kvlistValue":{"values":[{"key":"a","value":"#.repeat(500),
        "}]}}".repeat(500)
    );
    let records = [
        good.to_string(),
        "7".to_owned(),
        r#"{"attributes":5}"#.to_owned(),
        r#"{"eventName":"browser.web_vital","attributes":[{"key":"browser.web_vital.name","value":{"stringValue":"lcp"}},{"key":"browser.web_vital.value","value":{"doubleValue":"NaN"}}]}"#.to_owned(),
        deep,
        r#"{"eventName":null,"body":null,"attributes":null,"timeUnixNano":null,"unknown":{"a":[1]}}"#.to_owned(),
        r#"{"eventName":"browser.navigation","time_unix_nano":1795362399000000000,"attributes":[{"key":"a"},{"value":{}},{"key":"url.path","value":{"stringValue":"/x"}},{"key":"l","value":{"arrayValue":{"values":[{}]}}}]}"#.to_owned(),
    ];
    let body = logs(&[]).replace(r#""logRecords":[]"#, &format!(r#""logRecords":[{}]"#, records.join(",")));
    let mut daemon = Daemon::new();
    let rejected: Vec<usize> = daemon.take(Signal::Logs, body.as_bytes()).into_iter().map(|(index, _)| index).collect();
    assert_eq!(rejected, [1, 2, 3, 4]);
    assert_eq!(daemon.totals(), BTreeMap::from([("page_view hard".to_owned(), (2, 0))]));
    let anonymous = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{},{}]}]},7,{"scopeLogs":[[]]}]}"#;
    let told = self::rejected(Signal::Logs, anonymous);
    assert_eq!(told[..2], ["0: `service.name` is missing", "1: `service.name` is missing"]);
    assert_eq!(told.len(), 4, "{told:?}");
}

#[test]
fn a_broken_protobuf_record_costs_only_itself_and_broken_text_nothing() {
    let good = log("browser.navigation", &[("url.path", json!("/x"))]);
    let mut packed = encoder::request(
        &serde_json::from_str(&logs(&[good.clone(), log("browser.navigation", &[("url.path", json!("BREAK"))]), good])).unwrap(),
    );
    let at = packed.windows(5).position(|window| window == b"BREAK").unwrap();
    let mut daemon = Daemon::new();
    packed[at..at + 5].copy_from_slice(b"\xff\xfe\xfd/y");
    assert_eq!(daemon.take(Signal::Logs, &packed), [], "what is no UTF-8 is mended");
    packed[at - 1] = 0x7f;
    let rejected: Vec<usize> = daemon.take(Signal::Logs, &packed).into_iter().map(|(index, _)| index).collect();
    assert_eq!(rejected, [1]);
    assert_eq!(daemon.totals(), BTreeMap::from([("page_view hard".to_owned(), (5, 0))]));
    // JSON with half a character in it.
    let mut body = logs(&[log("browser.navigation", &[("url.path", json!("/BREAK"))])]).into_bytes();
    let at = body.windows(5).position(|window| window == b"BREAK").unwrap();
    body[at] = 0xc3;
    assert_eq!(daemon.take(Signal::Logs, &mended("application/json", &body)), []);
}

#[test]
fn the_body_says_how_it_is_written() {
    let json: &[u8] = b" {\"resourceLogs\":[]}\n";
    for (content_type, body, encoding) in [
        ("application/json", json, Encoding::Json),
        ("", json, Encoding::Json),
        ("text/plain;charset=UTF-8", json, Encoding::Json),
        ("application/x-protobuf", &json[1..], Encoding::Json),
        ("application/x-protobuf", PROTOBUF, Encoding::Protobuf),
        ("application/json; charset=utf-8", PROTOBUF, Encoding::Protobuf),
        ("", PROTOBUF, Encoding::Protobuf),
        ("application/json", b"nonsense", Encoding::Json),
        ("Application/Protobuf", b"", Encoding::Protobuf),
    ] {
        assert_eq!(Encoding::of(content_type, body), encoding, "{content_type} {:?}", &body[..body.len().min(9)]);
    }
}

#[test]
fn what_is_no_request_is_refused() {
    let (settings, from) = (settings(), Enrichment::default());
    let refused = |signal, content_type, body: &[u8]| decode(signal, content_type, body, &settings, &from, memory(), NOW).unwrap_err();
    assert!(matches!(refused(Signal::Logs, "application/json", b"nonsense"), Refusal::Json(_)));
    assert!(matches!(refused(Signal::Logs, "application/json", b"[]"), Refusal::Shape(_)));
    assert!(matches!(refused(Signal::Logs, "application/json", b""), Refusal::Json(_)));
    assert!(matches!(refused(Signal::Logs, "application/json", br#"{"resourceLogs":5}"#), Refusal::Shape(_)));
    assert!(matches!(refused(Signal::Logs, "application/json", TRACES[0].as_bytes()), Refusal::Shape(_)), "at the wrong address");
    assert!(matches!(refused(Signal::Traces, "application/x-protobuf", &PROTOBUF[..1000]), Refusal::Shape(_)));
    for nothing in [&b"{}"[..], br#"{"resourceLogs":null}"#] {
        assert_eq!(decode(Signal::Logs, "application/json", nothing, &settings, &from, memory(), NOW).unwrap().events, 0);
    }
    assert_eq!(decode(Signal::Logs, "application/x-protobuf", b"", &settings, &from, memory(), NOW).unwrap().events, 0);
}

#[test]
fn bombs_are_refused_or_read_in_no_time() {
    let (settings, from) = (settings(), Enrichment::default());
    let nested = |depth: usize| {
        let mut value = vec![0x0a, 1, b'x'];
        for _ in 0..depth {
            // AnyValue { kvlist { KeyValue { value } } }
            for tag in [0x12, 0x0a, 0x32] {
                let mut outer = vec![tag];
                encoder::varint(&mut outer, value.len() as u64);
                outer.extend_from_slice(&value);
                value = outer;
            }
        }
        encoder::wrapped(&[0x0a, 0x12, 0x12, 0x2a], value)
    };
    let bodies = [
        ("many empty records", encoder::wrapped(&[0x0a, 0x12], [0x12, 0].repeat(1 << 20))),
        ("many empty scopes", encoder::wrapped(&[0x0a], [0x12, 0].repeat(1 << 20))),
        ("many empty resources", [0x0a, 0].repeat(1 << 20)),
        ("many empty attributes", encoder::wrapped(&[0x0a, 0x12, 0x12], [0x32, 0].repeat(1 << 20))),
        ("many empty points", encoder::wrapped(&[0x0a, 0x12, 0x12, 0x3a], [0x0a, 0].repeat(1 << 20))),
        ("a deep value", nested(2_000)),
        ("a length beyond the end", vec![0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]),
        ("deep JSON", format!(r#"{{"resourceLogs":{}{}}}"#, "[".repeat(1 << 20), "]".repeat(1 << 20)).into_bytes()),
        (
            "many empty records in JSON",
            format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{}{{}}]}}]}}]}}"#, "{},".repeat(1 << 20)).into_bytes(),
        ),
        ("many empty resources in JSON", format!(r#"{{"resourceLogs":[{}{{}}]}}"#, "{},".repeat(1 << 20)).into_bytes()),
    ];
    for (name, body) in &bodies {
        for signal in [Signal::Logs, Signal::Traces, Signal::Metrics] {
            let start = Instant::now();
            let counted = decode(signal, "", body, &settings, &from, memory(), NOW).map_or(0, |decoded| decoded.batches.len());
            assert_eq!(counted, 0, "{name}");
            assert!(start.elapsed() < Duration::from_secs(5), "{name}: {:?}", start.elapsed());
        }
    }
}
