//! What the outside may and may not do, over the whole router.

use axum::http::{Method, StatusCode, header};

use super::CSP;
use crate::store::outbox;
use crate::web::fixture::assert_inert;
use crate::web::fixture::house::{EVE, House, MIRA, read, request};

const PAGES: &[&str] = &[
    "/",
    "/?show=held",
    "/incidents",
    "/incidents/4127",
    "/incidents/4127?range=3d",
    "/incidents/4127/timeline",
    "/incidents/4127/segments",
    "/incidents/4127/act/rollback",
    "/incidents/4127/segments?dimension=region",
    "/incidents/4127/snooze",
    "/incidents/4127/resolve",
    "/overview",
    "/slos",
    "/slos/checkout-api",
    "/slos/checkout-api?region=eu-west&range=6h",
    "/silences",
    "/silences?state=expired",
    "/silences/s1",
    "/silences/new?m=service%3Dshop&for=3d&confirm=1",
    "/silences/new?incident=4127",
    "/silences/new?m=service%3Dshop&for=1h",
    "/rules",
    "/rules/checkout-api",
    "/rules/file/checkout.rhai?line=2",
    "/health",
    "/query",
    "/query?metric=request&where=app%3Dshop&by=region&show=share&from=-6h",
    "/query?metric=%3Cscript%3E&where=x&show=p75",
    "/reports/week/2026-11-19",
    "/reports/quarterly/2026-11-19",
    "/changes",
    "/notifications",
    "/notifications/d2",
    "/deadletters",
    "/receivers",
    "/audit",
    "/me",
    "/inbox",
    "/inbox/1",
    "/inbox/2",
    "/inbox/3",
];

const API: &[&str] = &[
    "/v1/slos",
    "/v1/slos/checkout-api",
    "/v1/slos/checkout-api/gate",
    "/v1/incidents?status=open&severity=page",
    "/v1/incidents/4127",
    "/v1/alerts",
    "/v1/silences",
    "/v1/annotations",
    "/v1/notifications",
    "/v1/deadletters",
    "/v1/rules",
    "/v1/receivers",
    "/v1/audit",
    "/api/v2/alerts?active=true&filter=alertname%3D%22x%22",
    "/api/v2/alerts/groups",
    "/api/v2/silences",
    "/api/v2/receivers",
    "/api/v2/status",
    "/healthz",
    "/readyz",
    "/metrics",
];

const POSTS: &[&str] = &[
    "/incidents/4127/ack",
    "/incidents/4127/unack",
    "/incidents/4127/act/rollback",
    "/incidents/4127/note",
    "/incidents/4127/owner",
    "/incidents/4127/severity",
    "/incidents/4127/snooze",
    "/incidents/4127/resolve",
    "/silences/new",
    "/silences/x/end",
    "/deadletters/d3/replay",
    "/deadletters/d3/discard",
    "/deadletters/replay",
    "/receivers/x/test",
    "/me",
    "/sign-out",
];

#[tokio::test]
async fn an_objective_and_a_search_for_its_name_lead_to_its_incident() {
    let house = House::new(false, false).await;
    for path in ["/slos/checkout-api", "/incidents?q=Checkout-API"] {
        let (_, _, body) = house.get(path).await;
        assert!(body.contains("href=\"/incidents/4127\""), "{path}: {body}");
    }
    let (_, _, body) = house.get("/incidents?q=another-api").await;
    assert!(!body.contains("href=\"/incidents/4127\""));
}

#[tokio::test]
async fn r10_every_page_is_whole_inert_and_under_its_headers() {
    for hostile in [false, true] {
        let house = House::new(false, hostile).await;
        for path in PAGES {
            let (status, answer, body) = house.get(path).await;
            assert_eq!(status, StatusCode::OK, "{path}: {body}");
            assert_inert(&body);
            assert_eq!(body.matches("<h1").count(), 1, "{path}");
            for part in ["<header", "<nav", "<main", "<footer", "lang=\"en\"", "<title>"] {
                assert!(body.contains(part), "{path} has no {part}");
            }
            assert!(body.len() < 100 * 1024, "{path}: {}", body.len());
            for (name, value) in [
                ("content-security-policy", CSP),
                ("x-content-type-options", "nosniff"),
                ("referrer-policy", "no-referrer"),
                ("cache-control", "no-store"),
            ] {
                assert_eq!(answer.headers()[name], value, "{path}");
            }
        }
    }
}

#[tokio::test]
async fn the_api_answers_json_under_the_same_headers() {
    let house = House::new(false, true).await;
    for path in API {
        let (status, answer, body) = house.get(path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
        let kind = answer.headers()[header::CONTENT_TYPE].to_str().unwrap().to_owned();
        assert!(kind.starts_with("application/json") || *path == "/metrics" && kind.starts_with("text/plain"), "{path}: {kind}");
    }
    let (status, answer, _) = house.get("/v1/nothing").await;
    assert_eq!((status, answer.headers()[header::CONTENT_TYPE].to_str().unwrap()), (StatusCode::NOT_FOUND, "application/problem+json"));
}

#[tokio::test]
async fn what_is_not_there_leads_back() {
    let house = House::new(false, false).await;
    for path in [
        "/nothing",
        "/incidents/0",
        "/slos/none",
        "/slos/checkout-api?region=mars",
        "/notifications/none",
        "/rules/file/none",
        "/inbox/99",
        "/inbox/x",
    ] {
        let (status, _, body) = read(house.send(request(Method::GET, path, &[("accept", "text/html,*/*;q=0.8")], "")).await).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
        assert!(body.contains("href=\"/incidents\"") && body.contains("<h1"), "{path}");
    }
}

#[tokio::test]
async fn programs_get_their_errors_as_problems() {
    let house = House::new(false, false).await;
    for (method, path, expected) in [
        (Method::GET, "/nothing", StatusCode::NOT_FOUND),
        (Method::GET, "/v1/nothing", StatusCode::NOT_FOUND),
        (Method::POST, "/v1/slos", StatusCode::METHOD_NOT_ALLOWED),
        (Method::GET, "/v1/query", StatusCode::METHOD_NOT_ALLOWED),
        (Method::PATCH, "/healthz", StatusCode::METHOD_NOT_ALLOWED),
        (Method::DELETE, "/v1/incidents/4127/ack", StatusCode::METHOD_NOT_ALLOWED),
    ] {
        let (status, answer, body) = read(house.send(request(method, path, &[], "")).await).await;
        assert_eq!(status, expected, "{path}");
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/problem+json", "{path}");
        assert_eq!(answer.headers().contains_key(header::ALLOW), expected == StatusCode::METHOD_NOT_ALLOWED, "{path}");
        assert!(body.contains("\"status\":"), "{path}");
    }
}

#[tokio::test]
async fn a_mail_is_shown_under_rules_of_its_own() {
    let house = House::new(false, true).await;
    let (status, answer, _) = house.get("/inbox/3/mail.html").await;
    let csp = answer.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
    assert!(status.is_success() && csp.contains("sandbox") && csp.contains("default-src 'none'") && !csp.contains("allow-scripts"));
    let (_, _, body) = house.get("/inbox").await;
    assert!(body.contains("sandbox=\"\""));
}

#[tokio::test]
async fn who_read_what_is_in_the_audit_beside_what_was_done() {
    let house = House::new(false, false).await;
    for path in ["/v1/incidents/4127", "/v1/incidents/4127", "/metrics", "/assets/style.css"] {
        house.get(path).await;
    }
    house.state.reads.store(&house.store).await;
    let (_, _, audit) = house.get("/v1/audit").await;
    let audit: serde_json::Value = serde_json::from_str(&audit).unwrap();
    let reads: Vec<_> = audit["items"].as_array().unwrap().iter().filter(|row| row["action"] == "read").collect();
    assert_eq!(reads.len(), 1, "{audit}");
    assert_eq!(
        (&reads[0]["who"], &reads[0]["thing"], &reads[0]["detail"]["times"]),
        (&"local".into(), &"/v1/incidents/4127".into(), &2.into())
    );
    assert!(
        !house.get("/audit").await.2.contains("/v1/incidents/4127") && house.get("/audit?reads=yes").await.2.contains("/v1/incidents/4127")
    );
}

#[tokio::test]
async fn r9_reading_changes_nothing() {
    let house = House::new(false, false).await;
    let (_, _, before) = house.get("/v1/incidents/4127").await;
    let (_, _, audit) = house.get("/v1/audit").await;
    for path in PAGES.iter().chain(API).chain(POSTS) {
        house.get(path).await;
    }
    assert_eq!(house.get("/v1/incidents/4127").await.2, before);
    assert_eq!(house.get("/v1/audit").await.2, audit);
}

#[tokio::test]
async fn r9_a_form_without_its_token_is_refused() {
    let house = House::new(false, false).await;
    let form = [("content-type", "application/x-www-form-urlencoded")];
    for path in POSTS {
        for body in ["", "csrf=", "csrf=wrong&text=x&for=1h&why=fixed"] {
            let (status, _, said) = read(house.send(request(Method::POST, path, &form, body)).await).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{path} {body}: {said}");
        }
        let elsewhere = [form[0], ("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")];
        let token = token_of(&house).await;
        let (status, _, _) = read(house.send(request(Method::POST, path, &elsewhere, &format!("csrf={token}&text=x"))).await).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path} from elsewhere");
        let (status, _, _) = read(house.send(request(Method::POST, &format!("{path}?csrf={token}"), &form, "")).await).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path} with the token in its address");
    }
    assert!(house.get("/v1/incidents/4127").await.2.contains("\"status\":\"open\""));
}

async fn token_of(house: &House) -> String {
    let (_, _, page) = house.get("/me").await;
    page.split("name=\"csrf\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a token").to_owned()
}

#[tokio::test]
async fn an_action_is_answered_back_with_its_outcome() {
    let house = House::new(false, false).await;
    let token = token_of(&house).await;
    let form = [("content-type", "application/x-www-form-urlencoded"), ("origin", "null"), ("sec-fetch-site", "same-origin")];
    let (status, answer, _) = read(house.send(request(Method::POST, "/incidents/4127/ack", &form, &format!("csrf={token}"))).await).await;
    assert_eq!((status, answer.headers()[header::LOCATION].to_str().unwrap()), (StatusCode::SEE_OTHER, "/incidents/4127"));
    let cookie = answer.headers()[header::SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();
    let (_, answer, page) = read(house.send(request(Method::GET, "/incidents/4127", &[("cookie", &cookie)], "")).await).await;
    assert!(page.contains("Acknowledged. Escalation stops") && page.contains("acknowledged by local"), "{page}");
    assert!(answer.headers()[header::SET_COOKIE].to_str().unwrap().contains("Max-Age=0"), "it is said once");
    assert!(house.get("/v1/audit").await.2.contains("\"action\":\"acknowledge\""));
    let note = format!("csrf={token}&text=rolled+back+%3Cscript%3E");
    read(house.send(request(Method::POST, "/incidents/4127/note", &form, &note)).await).await;
    let (_, _, page) = house.get("/incidents/4127").await;
    assert!(page.contains("rolled back &lt;script&gt;"));
}

#[tokio::test]
async fn all_dead_letters_are_sent_again_or_those_of_one_receiver() {
    let house = House::new(false, false).await;
    let mut tx = house.state.store.write().await.unwrap();
    let dead = outbox::get(&mut tx, "d3").await.unwrap().unwrap();
    for (n, receiver) in [(4, "tickets"), (5, "tickets"), (6, "mail")] {
        let row = outbox::OutboxRow { id: format!("d{n}"), sequence: n, receiver: receiver.into(), ..dead.clone() };
        assert!(outbox::insert(&mut tx, &row).await.unwrap());
    }
    tx.commit().await.unwrap();
    let (_, _, page) = house.get("/deadletters").await;
    assert!(page.contains("Send all again") && page.contains("all of tickets"), "{page}");

    let token = token_of(&house).await;
    let form = [("content-type", "application/x-www-form-urlencoded"), ("origin", "null"), ("sec-fetch-site", "same-origin")];
    let again = async |receiver: &str| {
        let body = format!("csrf={token}&receiver={receiver}");
        let (status, answer, _) = read(house.send(request(Method::POST, "/deadletters/replay", &form, &body)).await).await;
        assert_eq!((status, answer.headers()[header::LOCATION].to_str().unwrap()), (StatusCode::SEE_OTHER, "/deadletters"));
        let cookie = answer.headers()[header::SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();
        read(house.send(request(Method::GET, "/deadletters", &[("cookie", &cookie)], "")).await).await.2
    };
    let states = async || {
        let mut tx = house.state.store.read().await.unwrap();
        let mut states = Vec::new();
        for id in ["d1", "d3", "d4", "d5", "d6"] {
            states.push(outbox::get(&mut tx, id).await.unwrap().unwrap().state);
        }
        states.join(" ")
    };
    assert!(again("tickets").await.contains("2 are on their way again"));
    assert_eq!(states().await, "delivered dead pending pending dead", "of the one receiver only");
    assert!(again("nobody").await.contains("no dead letter any more"));
    assert!(again("").await.contains("2 are on their way again"));
    assert_eq!(states().await, "delivered pending pending pending pending", "what had arrived is left alone");
    assert!(again("").await.contains("Not done"));
    let audit = house.get("/v1/audit").await.2;
    assert!(audit.contains("dead letters of tickets") && audit.contains("all dead letters"), "{audit}");
}

#[tokio::test]
async fn r9_a_foreign_host_or_origin_reaches_nothing() {
    let house = House::new(false, false).await;
    let foreign = axum::http::Request::get("/").header(header::HOST, "evil.example").body(axum::body::Body::empty()).unwrap();
    assert_eq!(house.send(foreign).await.status(), StatusCode::FORBIDDEN);
    let ack = |headers: &[(&str, &str)]| request(Method::POST, "/v1/incidents/4127/ack", headers, "{}");
    for headers in [
        &[("origin", "https://evil.example")][..],
        &[("origin", "null"), ("content-type", "text/plain")],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
    ] {
        assert_eq!(house.send(ack(headers)).await.status(), StatusCode::FORBIDDEN, "{headers:?}");
    }
    let browser = [("origin", "http://127.0.0.1:9320"), ("sec-fetch-site", "same-origin")];
    assert_eq!(house.send(ack(&browser)).await.status(), StatusCode::OK);
    assert_eq!(house.send(ack(&[])).await.status(), StatusCode::OK, "programs on this machine send no origin");
    let page = [("origin", "https://evil.example")];
    assert_eq!(house.send(request(Method::POST, "/inbox/hook/x", &page, "{}")).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(house.send(request(Method::POST, "/inbox/hook/x", &[], "{}")).await.status(), StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn r8_tokens_open_what_their_scopes_allow() {
    let house = House::new(true, false).await;
    let bearer = |secret: &str| format!("Bearer {secret}");
    let call = |method: Method, path: &str, auth: String| request(method, path, &[("authorization", &auth)], "{}");
    for path in API.iter().filter(|path| !path.ends_with('z')) {
        assert_eq!(house.get(path).await.0, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(house.send(call(Method::GET, path, bearer(EVE))).await.status(), StatusCode::OK, "{path}");
    }
    assert_eq!(house.get("/healthz").await.0, StatusCode::OK);
    assert_eq!(house.send(call(Method::POST, "/v1/incidents/4127/ack", bearer(EVE))).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(house.send(call(Method::POST, "/v1/aggregates", bearer(EVE))).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(house.send(call(Method::POST, "/v1/incidents/4127/ack", bearer(MIRA))).await.status(), StatusCode::OK);
    assert_eq!(house.send(call(Method::GET, "/v1/slos", bearer("wrong"))).await.status(), StatusCode::UNAUTHORIZED);
    for _ in 0..30 {
        house.send(call(Method::GET, "/v1/slos", bearer("wrong"))).await;
    }
    assert_eq!(house.send(call(Method::GET, "/v1/slos", bearer("wrong"))).await.status(), StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn r8_people_sign_in_with_a_token_and_come_back_to_their_page() {
    let house = House::new(true, false).await;
    let (status, answer, _) = house.get("/incidents/4127?range=6h").await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    assert_eq!(answer.headers()[header::LOCATION], "/sign-in?next=%2Fincidents%2F4127%3Frange%3D6h");
    let (status, _, page) = house.get("/sign-in?next=%2Fincidents%2F4127").await;
    assert!(status.is_success() && page.contains("type=\"password\"") && !page.contains("measured to"), "it shows nothing of the inside");
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let (status, _, page) = read(house.send(request(Method::POST, "/sign-in", &form, "token=wrong&next=/slos")).await).await;
    assert!(status == StatusCode::UNAUTHORIZED && page.contains("not known here"));
    let (status, answer, _) = read(house.send(request(Method::POST, "/sign-in", &form, &format!("token={MIRA}&next=/slos"))).await).await;
    assert_eq!((status, answer.headers()[header::LOCATION].to_str().unwrap()), (StatusCode::SEE_OTHER, "/slos"));
    let set = answer.headers()[header::SET_COOKIE].to_str().unwrap().to_owned();
    assert!(set.contains("HttpOnly") && set.contains("SameSite=Strict"));
    let cookie = set.split(';').next().unwrap().to_owned();
    let with = |method: Method, path: &str, body: &str| request(method, path, &[form[0], ("cookie", &cookie)], body);
    let (status, _, page) = read(house.send(with(Method::GET, "/me", "")).await).await;
    assert!(status.is_success() && page.contains("mira") && page.contains("Sign out"));
    let token = page.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let note = "/v1/incidents/4127/note";
    let text = r#"{"text":"x"}"#;
    let refused = house.send(with(Method::POST, note, text)).await.status();
    assert_eq!(refused, StatusCode::FORBIDDEN, "a cookie alone proves nothing");
    let ours = [("cookie", &*cookie), ("origin", "http://127.0.0.1:9320"), ("sec-fetch-site", "same-origin")];
    assert!(house.send(request(Method::POST, note, &ours, text)).await.status().is_success());
    let signed = [("cookie", &*cookie), ("x-csrf-token", &*token)];
    assert!(house.send(request(Method::POST, note, &signed, text)).await.status().is_success());
    assert_eq!(house.send(with(Method::POST, "/incidents/4127/ack", &format!("csrf={token}"))).await.status(), StatusCode::SEE_OTHER);
    assert_eq!(house.send(with(Method::POST, "/sign-out", &format!("csrf={token}"))).await.status(), StatusCode::SEE_OTHER);
    assert_eq!(house.send(with(Method::GET, "/me", "")).await.status(), StatusCode::SEE_OTHER, "the session is over");
}

#[tokio::test]
async fn silences_and_changes_are_made_listed_and_ended() {
    let house = House::new(false, false).await;
    let post = |path: &str, body: &str| request(Method::POST, path, &[("content-type", "application/json")], body);
    let body = r#"{"matchers":["service=shop","region=~eu.*"],"ends":"2026-11-19T05:00:00Z","author":"ada","comment":"known"}"#;
    let (status, _, said) = read(house.send(post("/v1/silences", body)).await).await;
    assert_eq!(status, StatusCode::CREATED, "{said}");
    let id = serde_json::from_str::<serde_json::Value>(&said).unwrap()["id"].as_str().unwrap().to_owned();
    assert!(house.get("/v1/silences").await.2.contains("\"state\":\"active\""));
    assert!(house.get("/silences").await.2.contains("region=~eu.*"));
    let (status, _, said) = read(house.send(request(Method::DELETE, &format!("/v1/silences/{id}"), &[], "")).await).await;
    assert_eq!(status, StatusCode::NO_CONTENT, "{said}");
    assert!(house.get("/v1/silences").await.2.contains("\"state\":\"expired\""));
    assert_eq!(house.send(request(Method::DELETE, "/v1/silences/none", &[], "")).await.status(), StatusCode::NOT_FOUND);
    for bad in [
        "",
        "[]",
        "{",
        r#"{"matchers":[]}"#,
        r#"{"matchers":["x"],"ends":"2026-11-19T05:00:00Z"}"#,
        r#"{"matchers":["a=b"],"ends":5,"x":1}"#,
    ] {
        assert_eq!(house.send(post("/v1/silences", bad)).await.status(), StatusCode::BAD_REQUEST, "{bad}");
    }
    let (status, _, said) = read(house.send(post("/v1/annotations", r#"{"kind":"deploy","app":"shop","release":"2.3.2"}"#)).await).await;
    assert_eq!(status, StatusCode::CREATED, "{said}");
    assert!(house.get("/v1/annotations").await.2.contains("2.3.2"));
    assert_eq!(house.send(post("/v1/deadletters/d3/replay", "")).await.status(), StatusCode::OK);
    assert_eq!(house.send(post("/v1/deadletters/d3/replay", "")).await.status(), StatusCode::NOT_FOUND, "it is pending now");
    let (status, _, said) = read(house.send(post("/v1/incidents/4127/snooze", r#"{"for":"1h","text":"later"}"#)).await).await;
    assert!(status.is_success() && said.contains("snoozed_until"), "{said}");
    assert_eq!(house.send(post("/v1/incidents/4127/snooze", "{}")).await.status(), StatusCode::BAD_REQUEST);
    assert_eq!(house.send(post("/v1/incidents/4127/dance", "{}")).await.status(), StatusCode::NOT_FOUND);
    let (status, _, said) = read(house.send(post("/v1/incidents/4127/resolve", r#"{"text":"fixed"}"#)).await).await;
    assert!(status.is_success() && said.contains("\"status\":\"resolved\""), "{said}");
    let (_, _, said) = house.get("/v1/incidents/4127").await;
    assert!(said.contains("resolved by local: fixed") && said.contains("\"text\":\"later\""), "{said}");
}

#[tokio::test]
async fn bodies_are_bounded() {
    let house = House::new(false, false).await;
    let large = format!("{{\"text\":\"{}\"}}", "x".repeat(300 * 1024));
    let (status, _, _) = read(house.send(request(Method::POST, "/v1/incidents/4127/note", &[], &large)).await).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    let rows = "x".repeat(3 * 1024 * 1024);
    let (status, _, said) = read(house.send(request(Method::POST, "/v1/aggregates", &[], &rows)).await).await;
    assert!(status.is_success() && said.contains("3145728"), "{said}");
}

#[tokio::test]
async fn assets_never_change_under_their_name() {
    let house = House::new(false, false).await;
    for asset in [crate::web::asset::style(), crate::web::asset::script()] {
        let (status, answer, body) = house.get(&asset.url()).await;
        assert_eq!((status, body.as_str()), (StatusCode::OK, asset.text()));
        assert!(answer.headers()[header::CACHE_CONTROL].to_str().unwrap().contains("immutable"));
    }
    assert_eq!(house.get("/assets/burnwatch-0.css").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn r11_an_export_keeps_hostile_text_as_text() {
    let house = House::new(false, true).await;
    let (status, answer, body) = house.get("/incidents/4127/export.md").await;
    assert!(status.is_success() && !body.contains('\u{202e}'));
    assert_eq!(answer.headers()[header::CONTENT_DISPOSITION], "attachment; filename=\"incident-4127.md\"");
    let (status, answer, _) = house.get("/incidents/4127/export.json").await;
    assert!(status.is_success() && answer.headers()[header::CONTENT_TYPE] == "application/json");
}
