//! Invented incidents, rules and readers for the tests of the pages.

pub mod house;

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::fraction::Fraction;
use crate::domain::incident::{Explained, Incident, Member};
use crate::domain::notification::{Change, ChangeKind, Figures, Impact, Status, Suspect, Values, Verdict};
use crate::domain::rule::*;
use crate::domain::snapshot::{AlertPhase, SloStatus, TierStatus, TierVerdict};
use crate::domain::time::{Span, Timestamp};
use crate::web::chart::{BurnChart, Marker, TierLine};
use crate::web::frame::{Frame, Page, Reader, Trust};
use crate::web::icon::{Icon, Tone};
use crate::web::pages::incident::{Before, Check, Drawing, Entry, Model, Range, Told, ToldState};
use crate::web::query::SloPoint;

/// 2026-11-19T03:12:40Z.
pub const NOW: Timestamp = Timestamp(1_795_057_960_000);

/// What an attacker would put into every label, note and message.
pub const HOSTILE: &str = "<script>alert(1)</script>\"><img src=x onerror=alert(1)>\u{202e}gnp.exe\u{2066}javascript:alert(1)' onclick='x";

pub fn at(clock: &str) -> Timestamp {
    format!("2026-11-19T{clock}Z").parse().expect("a time of the fixture")
}

pub fn reader() -> Reader {
    Reader { name: "mira".into(), operate: true, admin: true, csrf: "token".into(), ..Reader::default() }
}

pub fn frame(now: Timestamp) -> Frame {
    Frame {
        now,
        reader: reader(),
        open: 2,
        paging: true,
        trust: Trust {
            measured_to: Some(at("03:12:00")),
            stale_after: Span::minutes(3),
            late: Some(Span::seconds(4)),
            revision: "4f2c1a9bc0de".into(),
            silent: vec!["payment-3ds".into()],
            ..Trust::default()
        },
        outcome: None,
        inbox: true,
        event: String::new(),
    }
}

/// The whole document, as it would be sent.
pub fn render(now: Timestamp, page: impl FnOnce(&Reader) -> Page) -> String {
    let frame = frame(now);
    let page = page(&frame.reader);
    frame.render(page).into_string()
}

/// Nothing of [`HOSTILE`] became markup, a link, an attribute or a change of direction; nothing is inline.
pub fn assert_inert(text: &str) {
    let low = text.to_lowercase();
    for bad in ["<script>", "<img", "href=\"javascript", "src=\"javascript", " style=\"", "\u{202e}", "\u{2066}", "<iframe srcdoc"] {
        assert!(!low.contains(bad), "{bad} in {}", around(&low, bad));
    }
    // Attributes end at `"` only, and no quote of the attacker stands unescaped.
    for handler in [" onerror=", " onclick=", " onload="] {
        for (i, _) in low.match_indices(handler) {
            let before = &low[..i];
            let inside_tag = before.rfind('<') > before.rfind('>');
            let quotes = before[before.rfind('<').unwrap_or(0)..].matches('"').count();
            assert!(!inside_tag || quotes % 2 == 1, "{handler} in {}", around(&low, handler));
        }
    }
}

/// Far from the 100 KB that a page may weigh with style and script.
pub fn assert_light(text: &str) {
    let bytes = text.len() + crate::web::asset::style().text().len() + crate::web::asset::script().text().len();
    let parts = text.split("<section").map(|part| (part.len(), part.chars().take(60).collect::<String>()));
    assert!(bytes < 85 * 1024, "{bytes} bytes with style and script: {:?}", parts.collect::<Vec<_>>());
}

fn around(text: &str, needle: &str) -> String {
    let i = text.find(needle).unwrap_or(0);
    text.chars().skip(text[..i].chars().count().saturating_sub(80)).take(200).collect()
}

pub fn slo() -> Slo {
    let tier = |severity, long, short, (num, den)| Tier::new(severity, long, short, Fraction::new(num, den).expect("a fraction"));
    let sli = Sli::Good(Selector { metric: crate::domain::metric::Metric::Request, filter: Default::default() });
    Slo {
        place: Place { path: "checkout.rhai".into(), line: 12, column: 1 },
        description: "Requests to /api/checkout succeed".into(),
        owner: "team-checkout".into(),
        service: "shop".into(),
        by: vec!["region".into()],
        tiers: vec![
            tier(Severity::Page, Span::HOUR, Span::minutes(5), (144, 10)),
            tier(Severity::Page, Span::hours(6), Span::minutes(30), (6, 1)),
            tier(Severity::Ticket, Span::hours(24), Span::hours(2), (3, 1)),
            tier(Severity::Ticket, Span::days(3), Span::hours(6), (1, 1)),
        ],
        runbook: Some("https://runbooks.example.com/checkout-api".into()),
        tier: Some("1".into()),
        ..Slo::new("checkout-api", 1_000, sli)
    }
}

pub fn status() -> SloStatus {
    let slo = slo();
    let burns = [(35.04, 117.2), (5.98, 67.0), (1.3, 17.0), (0.62, 5.99)];
    let tiers = slo
        .tiers
        .iter()
        .zip(burns)
        .map(|(tier, (long, short))| {
            let factor = tier.factor.to_f64();
            TierStatus {
                severity: tier.severity,
                long: tier.long,
                short: tier.short,
                factor: tier.factor,
                op: tier.op,
                burn_long: Some(long),
                burn_short: Some(short),
                long_over: long > factor,
                short_over: short > factor,
                verdict: if long > factor && short > factor { TierVerdict::Holds } else { TierVerdict::Clear },
                held_back: None,
                phase: if long > factor && short > factor { AlertPhase::Firing } else { AlertPhase::Ok },
                since: Some(at("03:02:00")),
            }
        })
        .collect();
    SloStatus {
        slo: slo.name,
        group: Labels::new(),
        total: 121_000_000.0,
        bad: 71_390.0,
        budget_remaining: Some(0.41),
        pace: Some(Span::minutes(20 * 60 + 35)),
        countdown: Some(Span::minutes(8 * 60 + 30)),
        burn: BTreeMap::from([(Span::HOUR, Some(35.04)), (Span::minutes(5), Some(117.2))]),
        tiers,
        state: AlertPhase::Firing,
        severity: Some(Severity::Page),
        no_data: false,
        groups_left_out: 0,
    }
}

pub fn incident() -> Incident {
    let labels = Labels::from([("service".into(), "shop".into()), ("slo".into(), "checkout-api".into())]);
    let member = |rule: &str, severity, summary: &str, firing| Member {
        alert: rule.into(),
        rule: rule.into(),
        labels: labels.clone(),
        severity,
        firing,
        started_at: at("03:02:00"),
        ended_at: (!firing).then(|| at("03:08:00")),
        summary: summary.into(),
        figures: Figures::default(),
        traces: vec!["https://traces.example.com/8f3a".into()],
        subject: None,
    };
    let suspect = |terms: &[(&str, &str)], bad, traffic, change: Option<&str>| Suspect {
        terms: terms.iter().map(|(k, v)| ((*k).to_owned(), Values::One((*v).to_owned()))).collect(),
        bad_share: bad,
        traffic_share: traffic,
        excess_share: 0.97,
        users: 1_812,
        new: change.is_some(),
        change: change.map(str::to_owned),
    };
    Incident {
        id: "4127".into(),
        key: "service=shop".into(),
        grouping: labels.clone(),
        generation: 1,
        sequence: 3,
        status: Status::Open,
        severity: Severity::Page,
        title: "Checkout fails for 1 in 9 requests, almost all on release 2.3.1 in eu-west".into(),
        service: "shop".into(),
        owner: "team-checkout".into(),
        labels: labels.clone(),
        opened_at: at("03:02:30"),
        acknowledged_at: None,
        acknowledged_by: None,
        resolved_at: None,
        snoozed_until: None,
        window_start: at("02:51:00"),
        members: vec![
            member("checkout-api", Severity::Page, "burn 35× over 1 h, limit 14.4×", true),
            member("conversion-drop", Severity::Ticket, "orders 38 % below usual", true),
            member("cart-js-errors", Severity::Ticket, "burn 3.2×", false),
        ],
        told: BTreeMap::new(),
        loud_since: at("03:02:30"),
        impact: Impact { affected_users: 1_919, bad_events: 4_870.0, budget_consumed: 0.034, budget_remaining: 0.41 },
        explained: Explained {
            signature: "release:shop/2.3.1".into(),
            verdict: Verdict::Segment,
            suspects: vec![
                suspect(&[("region", "eu-west"), ("release", "2.3.1")], 0.99, 0.12, Some("dep-1")),
                suspect(&[("region", "eu-west")], 0.98, 0.27, None),
                suspect(&[("device", "mobile")], 0.61, 0.58, None),
            ],
            ..Explained::default()
        },
        changes: vec![
            Change {
                id: "dep-1".into(),
                kind: ChangeKind::Deploy,
                at: at("02:47:10"),
                app: "shop".into(),
                release: Some("2.3.1".into()),
                text: None,
                url: Some("https://git.example.com/shop/compare/2.3.0...2.3.1".into()),
            },
            Change {
                id: "flag-1".into(),
                kind: ChangeKind::Flag,
                at: at("02:46:58"),
                app: "shop".into(),
                release: None,
                text: Some("new-payment on for 12 %".into()),
                url: None,
            },
        ],
        revision: "4f2c1a9".into(),
        runbook: Some("https://runbooks.example.com/checkout-api".into()),
        dashboard: None,
        parent: None,
        children: BTreeSet::new(),
        reopened: vec![],
        known: BTreeSet::new(),
        held_until: None,
        closed_because: None,
        by_hand: Default::default(),
        footing: None,
    }
}

/// The incident as lists show it.
pub fn row() -> crate::web::pages::oncall::Row {
    crate::web::site::oncall::row_of(&incident())
}

pub fn hostile_incident() -> Incident {
    let mut incident = incident();
    for text in [
        &mut incident.id,
        &mut incident.title,
        &mut incident.service,
        &mut incident.owner,
        &mut incident.explained.sentence,
        &mut incident.explained.reason,
    ] {
        *text = HOSTILE.into();
    }
    incident.acknowledged_by = Some(HOSTILE.into());
    incident.runbook = Some("javascript:alert(1)".into());
    incident.dashboard = Some(HOSTILE.into());
    for member in &mut incident.members {
        member.rule = HOSTILE.into();
        member.summary = HOSTILE.into();
        member.traces = vec!["javascript:alert(1)".into(), HOSTILE.into()];
    }
    for suspect in &mut incident.explained.suspects {
        suspect.terms = BTreeMap::from([(HOSTILE.to_owned(), Values::Any(vec![HOSTILE.to_owned(), "b".into()]))]);
    }
    for change in &mut incident.changes {
        change.app = HOSTILE.into();
        change.release = Some(HOSTILE.into());
        change.text = Some(HOSTILE.into());
        change.url = Some("javascript:alert(1)".into());
    }
    incident
}

pub fn chart() -> BurnChart {
    let start = at("01:12:00");
    let points: Vec<SloPoint> = (0..120)
        .map(|i| SloPoint {
            at: start + Span::minutes(i),
            counts: (!(70..73).contains(&i)).then(|| {
                let total = 2_000.0 + ((i * 37) % 90) as f64;
                (total, if i < 99 { 1.0 } else { (total * 0.12) * ((i - 98) as f64 / 9.0).min(1.0) })
            }),
            partial: false,
        })
        .collect();
    let mut chart =
        BurnChart::fold(&points, Span::MINUTE, (at("02:12:00"), at("03:12:00")), Span::MINUTE, (Span::HOUR, Span::minutes(5)), 0.001);
    chart.noun = "requests".into();
    chart.tiers = slo().tiers.iter().map(|tier| TierLine { severity: tier.severity, factor: tier.factor.to_f64() }).collect();
    chart.markers = vec![
        Marker { at: at("02:47:10"), glyph: '◆', text: "deploy 2.3.1".into() },
        Marker { at: at("03:02:30"), glyph: '▲', text: "paged".into() },
    ];
    chart
}

/// The page's model around an incident: hostile where the incident is.
pub fn incident_model<'a>(incident: &'a Incident, reader: &'a Reader) -> Model<'a> {
    static SLO: std::sync::LazyLock<(Slo, SloStatus)> = std::sync::LazyLock::new(|| (slo(), status()));
    let hostile = incident.title == HOSTILE;
    let text = |calm: &str| if hostile { HOSTILE.to_owned() } else { calm.to_owned() };
    let entry = |clock: &str, icon, tone, what: &str, said: &str, who: &str| Entry {
        at: at(clock),
        icon,
        tone,
        what: what.into(),
        said: text(said),
        who: if who.is_empty() { String::new() } else { text(who) },
        url: hostile.then(|| "javascript:alert(1)".into()),
    };
    let mut drawing = chart();
    if hostile {
        drawing.markers[0].text = HOSTILE.into();
        drawing.noun = HOSTILE.into();
    }
    Model {
        incident,
        slo: Some((&SLO.0, Some(&SLO.1))),
        drawing: Drawing::Chart(drawing),
        range: Range::Hour,
        actions: vec![("rollback".into(), text("Roll back the last deploy"))],
        entries: vec![
            entry("03:12:32", Icon::Rising, Some(Tone::Ticket), "Escalated", "to team-mail: not acknowledged for 10 min", ""),
            entry("03:02:31", Icon::Page, Some(Tone::Page), "Paged", "checkout-pager", ""),
            entry("03:02:30", Icon::Page, Some(Tone::Page), "Opened", "checkout-api fires: 14.4× passed over 1 h and 5 min", ""),
            entry("02:47:10", Icon::Change, None, "Deploy", "shop 2.3.1 to eu-west", "ci"),
            entry("02:46:58", Icon::Change, None, "Flag", "new-payment on for 12 %", ""),
        ],
        told: vec![
            Told { receiver: text("checkout-pager"), kind: "PagerDuty".into(), at: at("03:02:31"), state: ToldState::Delivered },
            Told { receiver: text("team-mail"), kind: "e-mail".into(), at: at("03:12:33"), state: ToldState::OnItsWay },
            Told {
                receiver: text("tickets"),
                kind: "webhook".into(),
                at: at("03:12:40"),
                state: ToldState::Retrying { error: text("HTTP 503"), attempts: 2, next: at("03:13:40") },
            },
            Told { receiver: text("chat"), kind: "Slack".into(), at: at("03:02:40"), state: ToldState::HeldBack(text("silenced by ada")) },
        ],
        checks: vec![
            Check { tone: Tone::Fine, said: text("57 of 60 minutes before it measured"), now: None },
            Check {
                tone: Tone::Fine,
                said: "events late by 4 s (P95)".into(),
                now: Some((Tone::Ticket, text("events late by 9 min (P95)"))),
            },
            Check { tone: Tone::Ticket, said: text("silent: payment-3ds"), now: None },
        ],
        then_read: true,
        family: Default::default(),
        before: vec![Before {
            id: text("3981"),
            title: text("Checkout fails on release 2.2.9"),
            opened_at: at("01:00:00"),
            lasted: Some(Span::minutes(41)),
        }],
        rules: [(text("checkout-api"), crate::web::pages::slos::slo_path_of(&text("checkout-api")))].into(),
        now: NOW,
        reader,
    }
}
