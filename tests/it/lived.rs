//! An incident lived through as a person lives it, in a real browser: opened, acknowledged from the link in its mail,
//! silenced, escalated, resolved, and exported as the material of a postmortem.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::chromium::{Browser, chromium};
use super::daemon::{Daemon, Got, Receiver, get, post};
use super::peers::MailServer;

const RULES: &str = r#"
slo("checkout-api", #{ objective: 99.0, window: "1d", service: "shop", owner: "team-checkout", sli: good("request", #{ app: "shop" }),
    description: "Checkout requests succeed", runbook: "https://runbooks.example.com/checkout",
    alert: [ page(#{ long: "4s", short: "2s", factor: 10.0 }) ] });
receiver("mail", email(#{ to: ["ada@example.com"] }));
receiver("manager", webhook(#{ url: "http://RECEIVER/" }));
route(#{ to: ["mail"], group_by: ["service"], escalate: [ #{ after: "4s", to: ["manager"] } ] });
"#;

/// Checkout requests, three a second; all of one release and region fail while `failing` says so.
struct Shop {
    failing: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Shop {
    fn open(intake: std::net::SocketAddr) -> Shop {
        let (failing, over) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (bad, end) = (failing.clone(), over.clone());
        let thread = std::thread::spawn(move || {
            let mut n = 0;
            while !end.load(Ordering::Relaxed) {
                for (region, release) in [("de", "2.3.1"), ("us", "2.3.0")] {
                    n += 1;
                    let status = if region == "de" && bad.load(Ordering::Relaxed) { 500 } else { 200 };
                    let event = format!(r#"{{"kind":"request","path":"/api/checkout","status":{status}}}"#);
                    let events = vec![event; 20].join(",");
                    let head = format!(r#""app":"shop","id":"{n}","region":"{region}","release":"{release}","user":"u{}""#, n % 40);
                    _ = post(intake, "/v1/rum", &format!(r#"{{{head},"events":[{events}]}}"#));
                }
                std::thread::sleep(Duration::from_millis(150));
            }
        });
        Shop { failing, over, thread: Some(thread) }
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            _ = thread.join();
        }
    }
}

/// Waits until `found` gives something.
fn wait<T>(daemon: &Daemon, what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "no {what}:\n{}", daemon.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The text part of a mail, its soft line breaks and escapes undone.
fn text(mail: &Value) -> String {
    let raw = mail["mail"].as_str().expect("text").replace("\r\n", "\n").replace("=\n", "");
    raw.replace("=3D", "=").replace("=E2=80=A6", "…")
}

/// The address behind a word in the mail.
fn link(mail: &str, word: &str) -> String {
    let rest = mail.split(&format!("\n{word}: ")).nth(1).unwrap_or_else(|| panic!("no `{word}` in {mail}"));
    rest.lines().next().expect("a line").to_owned()
}

#[test]
fn an_incident_is_lived_through_from_its_mail_to_its_postmortem() {
    let Some(chromium) = chromium() else {
        eprintln!("left out: chromium is not installed");
        return;
    };
    let (mails, manager) = (MailServer::start("open"), Receiver::start());
    let more = format!(
        "[aggregation]\nbucket = \"1s\"\nsettle = \"200ms\"\n[smtp]\nhost = \"127.0.0.1\"\nport = {}\ntls = \"none\"\nfrom = \"burnwatch@example.com\"\n",
        mails.port
    );
    let mut daemon = Daemon::new(&more, &RULES.replace("RECEIVER", &manager.address.to_string()));
    daemon.start();
    let shop = Shop::open(daemon.intake);
    let incidents =
        |daemon: &Daemon| -> Value { serde_json::from_str(&get(daemon.admin, "/v1/incidents").expect("it answers").1).expect("JSON") };
    let mail = |n: usize| mails.mails().get(n).map(text);
    let told = |kind: &str| -> Vec<Got> { manager.got().into_iter().filter(|got| got.kind() == kind).collect() };
    let mut browser = Browser::start(&chromium, daemon.admin.port(), &[]);
    browser.look(390, 844, true);
    // The shop has been well for as long as the window looks back.
    std::thread::sleep(Duration::from_secs(6));

    // Opened: the mail says what is wrong and carries the link.
    shop.failing.store(true, Ordering::Relaxed);
    let opened = wait(&daemon, "mail", || mail(0));
    assert!(opened.contains("Subject: PAGE: ") && opened.contains("\nRunbook: https://runbooks.example.com/checkout\n"), "{opened}");
    let (act, page) = (link(&opened, "Acknowledge"), link(&opened, "Incident"));
    let base = format!("http://{}", daemon.admin);
    let (act, page) =
        (act.strip_prefix(&base).expect("a link to us").to_owned(), page.strip_prefix(&base).expect("a link to us").to_owned());
    let id = page.strip_prefix("/incidents/").expect("its page").to_owned();
    let status = |daemon: &Daemon| {
        let all = incidents(daemon);
        let one = all["items"].as_array().expect("a list").iter().find(|incident| incident["id"] == id.as_str()).cloned();
        one.expect("it is known")["status"].as_str().expect("a text").to_owned()
    };

    // Acknowledged from the mail: the page asks, the button does.
    browser.open(&act);
    assert!(browser.ask("document.querySelector('h1').innerText").as_str().unwrap_or_default().contains("Acknowledge this?"));
    assert_eq!(status(&daemon), "open", "looking changes nothing");
    browser.act("document.querySelector('main form button').click()");
    assert_eq!(browser.ask("document.querySelector('h1').innerText"), "Acknowledged");
    assert_eq!(status(&daemon), "acknowledged");
    let answered = wait(&daemon, "second mail", || mail(1));
    assert!(answered.contains("Subject: ACKNOWLEDGED: "), "{answered}");
    std::thread::sleep(Duration::from_secs(5));
    assert!(told("incident.escalated").is_empty(), "somebody is at it");

    // Silenced from its page, and the silence ended again.
    browser.open(&page);
    browser.act("document.querySelector('a[href^=\"/silences/new\"]').click()");
    browser.act("(() => { document.querySelector('#f').value = '1h'; document.querySelector('#c').value = 'rolling back 2.3.1'; document.querySelector('form button.primary').click() })()");
    assert!(browser.outcome().contains("Silenced until"), "{}", browser.outcome());
    wait(&daemon, "word in its history", || {
        get(daemon.admin, &format!("/v1{page}"))?.1.contains("told no more of it: silence ").then_some(())
    });
    browser.open(&page);
    let seen = browser.ask("document.querySelector('main').innerText");
    assert!(seen.as_str().unwrap_or_default().contains("told no more of it: silence"), "what is muted stays visible: {seen}");
    let silences: Value = serde_json::from_str(&get(daemon.admin, "/v1/silences").expect("it answers").1).expect("JSON");
    let silence = silences["items"][0]["id"].as_str().expect("an id").to_owned();
    browser.open("/silences");
    browser.act(&format!("document.querySelector('form[action*=\"{silence}\"] button').click()"));
    assert!(browser.outcome().contains("The silence is ended"), "{}", browser.outcome());

    // The acknowledgement taken back: nobody is at it, so the manager is told.
    browser.open(&page);
    browser.act("document.querySelector('form[action$=\"/unack\"] button').click()");
    assert_eq!(status(&daemon), "open");
    let escalated = wait(&daemon, "escalation", || told("incident.escalated").first().cloned());
    assert_eq!(escalated.incident(), id);
    browser.open(&page);
    browser.act("(() => { document.querySelector('form.note textarea').value = '2.3.1 rolled back in de'; document.querySelector('form.note button').click() })()");
    assert!(browser.outcome().contains("note is in the time line"), "{}", browser.outcome());

    // Resolved by the rules when the shop is well, and both are told.
    shop.failing.store(false, Ordering::Relaxed);
    wait(&daemon, "close", || (status(&daemon) == "resolved").then_some(()));
    wait(&daemon, "word to the manager", || told("incident.resolved").first().cloned());
    wait(&daemon, "last mail", || mails.mails().iter().map(text).find(|mail| mail.contains("Subject: RESOLVED: ")));

    // Exported: the material of a postmortem has all of it.
    browser.open(&page);
    let href = browser.ask("document.querySelector('a[href$=\"/export.md\"]').getAttribute('href')");
    let (status, material) = get(daemon.admin, href.as_str().expect("a link")).expect("it answers");
    assert_eq!(status, 200);
    for part in
        ["# ", "2.3.1", "link to mail", "acknowledge", "silence", "taken back", "escalat", "manager", "2.3.1 rolled back in de", "resolved"]
    {
        assert!(material.contains(part), "`{part}` is missing in\n{material}");
    }
    let audit = get(daemon.admin, "/v1/audit").expect("it answers").1;
    for part in ["link to mail", "\"silence\"", "end silence", "note"] {
        assert!(audit.contains(part), "`{part}` is missing in {audit}");
    }
    let alarming: Vec<&String> = browser.said.iter().filter(|said| said.contains("error")).collect();
    assert!(alarming.is_empty(), "{alarming:?}");
}
