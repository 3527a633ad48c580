//! On call: what is open now, worst first; below it, what to look at next.

mod below;

use std::sync::Arc;

use maud::{Markup, html};

use super::evidence::Evidence;
use super::heat::HeatRow;
use super::incident::path;
use crate::domain::notification::{Change, Status};
use crate::domain::rule::Severity;
use crate::domain::time::Timestamp;
use crate::web::chart::bullet::log_percent;
use crate::web::chart::spark::Spark;
use crate::web::frame::{Page, Place, REFRESH, Reader, shape};
use crate::web::icon::{Tone, flag, severity};
use crate::web::number;
use crate::web::text::{Plain, clip, plain, query};

/// One incident in a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub id: String,
    pub severity: Severity,
    pub status: Status,
    pub title: String,
    pub service: String,
    pub owner: String,
    pub users: u64,
    pub opened_at: Timestamp,
    pub resolved_at: Option<Timestamp>,
    pub acknowledged_by: Option<String>,
    pub snoozed_until: Option<Timestamp>,
    /// The suspect change, in words.
    pub change: Option<String>,
    /// Its id.
    pub suspect: Option<String>,
    /// Why receivers were not told.
    pub held_by: Option<String>,
}

/// Which open incidents are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Show {
    #[default]
    All,
    /// Owned or acknowledged by whoever looks.
    Mine,
    Snoozed,
    HeldBack,
}

impl Show {
    /// Reads `?show=`.
    pub fn parse(name: &str) -> Show {
        match name {
            "mine" => Show::Mine,
            "snoozed" => Show::Snoozed,
            "held" => Show::HeldBack,
            _ => Show::All,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Show::All => "",
            Show::Mine => "mine",
            Show::Snoozed => "snoozed",
            Show::HeldBack => "held",
        }
    }

    fn takes(self, row: &Row, model: &Model<'_>) -> bool {
        let (me, now) = (&model.reader.name, model.now);
        match self {
            Show::All => true,
            Show::Mine => row.owner == *me || row.acknowledged_by.as_ref() == Some(me),
            Show::Snoozed => row.snoozed_until.is_some_and(|until| until > now),
            Show::HeldBack => row.held_by.is_some(),
        }
    }
}

/// Rows of the first page; further ones are a link away.
const ROWS: usize = 16;
/// Points of one row's line: two minutes each.
const POINTS: usize = 30;

/// A free-form rule that fires or is about to.
#[derive(Clone, Debug, PartialEq)]
pub struct Anomaly {
    pub rule: String,
    pub words: String,
    pub severity: Option<Severity>,
    /// Not firing yet.
    pub pending: bool,
    pub since: Option<Timestamp>,
    /// The open incident that it is in, with its users.
    pub incident: Option<(String, u64)>,
}

/// What the first page shows.
pub struct Model<'a> {
    pub rows: Vec<Row>,
    pub show: Show,
    /// The first row that is shown.
    pub from: usize,
    /// Objectives that are watched.
    pub objectives: usize,
    pub evaluated_at: Option<Timestamp>,
    pub last_incident: Option<Timestamp>,
    /// `None` until history has answered for the first time.
    pub evidence: Option<Arc<Evidence>>,
    /// Objectives against the values of `dimension`.
    pub heat: Vec<HeatRow<'a>>,
    pub dimension: String,
    /// The newest first.
    pub anomalies: Vec<Anomaly>,
    /// Of the last 24 hours, the newest first.
    pub changes: Vec<Change>,
    /// Actions that a person may call for an incident: name and what the button says.
    pub actions: Vec<(String, String)>,
    pub now: Timestamp,
    pub reader: &'a Reader,
}

/// Pages before tickets, then by users hit, then the longest open. Nothing else, so that it is stable.
pub fn rank(rows: &mut [Row]) {
    rows.sort_by(|a, b| b.severity.cmp(&a.severity).then(b.users.cmp(&a.users)).then(a.opened_at.cmp(&b.opened_at)).then(a.id.cmp(&b.id)));
}

/// The page.
pub fn page(model: &Model<'_>) -> Page {
    let shown: Vec<&Row> = model.rows.iter().filter(|row| model.show.takes(row, model)).collect();
    let all = shown.len();
    let from = model.from.min(all);
    let shown = &shown[from..all.min(from + ROWS)];
    let users: u64 = model.rows.iter().map(|row| row.users).sum();
    let count = |show: Show| model.rows.iter().filter(|row| show.takes(row, model)).count();
    let heading = match model.rows.len() {
        0 => "Nothing is open".to_owned(),
        n if users == 0 => format!("{n} open"),
        // The same user may be hit by several incidents.
        n if model.rows.iter().filter(|row| row.users > 0).count() > 1 => {
            format!("{n} open: up to {} users hit", number::count(users as f64))
        }
        n => format!("{n} open: {} {} hit", number::count(users as f64), if users == 1 { "user" } else { "users" }),
    };
    let body = html! {
        div.head {
            h1 data-live="heading" { (heading) }
            nav.tabs aria-label="Which" {
                @for (show, name, label) in [(Show::All, "", "all"), (Show::Mine, "mine", "mine"), (Show::Snoozed, "snoozed", "snoozed"), (Show::HeldBack, "held", "held back")] {
                    a href={ "/" (query(&[("show", name)])) } aria-current=[(show == model.show).then_some("true")] {
                        (label) @if show != Show::All { " " (count(show)) }
                    }
                }
            }
        }
        @if shown.is_empty() { (empty(model)) } @else {
            ol."plain"."card"."rows" {
                @for row in shown { (row_of(row, model)) }
            }
        }
        @if from > 0 || from + ROWS < all {
            p {
                @if from > 0 { a.btn href={ "/" (query(&[("show", model.show.name()), ("from", &from.saturating_sub(ROWS).to_string())])) } { "Worse" } " " }
                @if from + ROWS < all { a.btn href={ "/" (query(&[("show", model.show.name()), ("from", &(from + ROWS).to_string())])) } { (all - from - ROWS) " more" } }
            }
        }
        @if !model.rows.is_empty() { (model.reader.hint()) }
        (below::cards(model))
    };
    let mut page = Page::new(heading, Place::OnCall, body);
    page.refresh = Some(REFRESH);
    page.json = Some("/v1/incidents?status=open&status=acknowledged".into());
    page.shape = shape(shown.iter().map(|row| row.id.as_str()));
    page
}

fn empty(model: &Model<'_>) -> Markup {
    html! {
        section.card aria-label="Nothing open" {
            @if model.show != Show::All {
                p.empty { "No open incident is " (match model.show { Show::Mine => "yours: neither owned nor acknowledged by you", Show::Snoozed => "snoozed", Show::HeldBack | Show::All => "held back" }) ". " a href="/" { "Show all" } }
            } @else {
                p.empty {
                    @match model.last_incident {
                        Some(at) => { "No open incident; the last one opened " (number::ago(at, model.now)) " ago. " }
                        None => "There has been no incident yet. ",
                    }
                    @match model.evaluated_at {
                        Some(at) => { "The last evaluation was " (number::ago(at, model.now)) " ago; " (model.objectives) " objectives are watched." }
                        None => "Nothing has been evaluated yet: no figure is complete.",
                    }
                }
                @if model.objectives == 0 {
                    p.empty { "No rules yet: " code { "burnwatch demo" } ", or put a file into " code { "rules/" } "." }
                }
            }
        }
    }
}

/// Burn over the last hour, on the one log scale of all rows.
fn spark(values: &[Option<f64>]) -> Markup {
    let each = values.len().div_ceil(POINTS).max(1);
    let part = |burn: f64| log_percent(burn) / 100.0;
    let lines: Vec<Option<f64>> = values.chunks(each).map(|step| step.iter().flatten().copied().reduce(f64::max).map(part)).collect();
    let words = |part: f64| {
        if part <= 0.0 { "at most 0.1×".to_owned() } else { number::burn(Some((0.1 * 2_000_f64.powf(part) * 100.0).round() / 100.0), &[]) }
    };
    Spark { values: &lines, low: 0.0, high: 1.0, band: None, words: &words, what: "burn over the last hour, log" }.draw()
}

fn row_of(row: &Row, model: &Model<'_>) -> Markup {
    let (now, reader) = (model.now, model.reader);
    let age = number::age(row.opened_at, row.resolved_at.unwrap_or(now));
    let burning = model.evidence.as_ref().and_then(|evidence| evidence.burning.get(&row.id));
    html! {
        li data-row {
            span { (severity(row.severity)) }
            span."w"."u" data-live={ "users-" (plain(&row.id)) } { @if row.users > 0 { (number::users(row.users)) } @else { span."muted"."small" { "users not measured" } } }
            span.what {
                a.t href=(path(&row.id)) { (Plain(&clip(&row.title, 160))) }
                span.m data-live={ "meta-" (plain(&row.id)) } {
                    (age) " · " (state_words(row, now))
                    @if let Some(change) = &row.change { " · ◆ " (Plain(&clip(change, 60))) }
                    @if let Some(held) = &row.held_by { " · held back: " (Plain(&clip(held, 80))) }
                    @if !row.service.is_empty() { " · " (Plain(&clip(&row.service, 40))) }
                }
            }
            span.sp.wide data-live={ "spark-" (plain(&row.id)) } { @if let Some(values) = burning { (spark(values)) } }
            span.do {
                @if row.status == Status::Open {
                    (reader.button(&format!("{}/ack", path(&row.id)), "Ack", "btn", None))
                } @else if row.status == Status::Resolved { (flag(Tone::Fine, "Resolved")) } @else { (flag(Tone::Info, "Acked")) }
            }
        }
    }
}

/// What people did about it so far.
pub fn state_words(row: &Row, now: Timestamp) -> String {
    match (row.status, row.snoozed_until) {
        (Status::Resolved, _) => "resolved".into(),
        (_, Some(until)) if until > now => format!("snoozed until {}", number::clock(until, now)),
        (Status::Acknowledged, _) => row.acknowledged_by.as_ref().map_or_else(|| "acked".into(), |by| format!("acked by {}", clip(by, 40))),
        (Status::Open, _) => "not acked".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::fixture::{self, HOSTILE, NOW, assert_inert, assert_light, render};

    fn row(id: &str, severity: Severity, users: u64) -> Row {
        Row {
            id: id.into(),
            severity,
            status: Status::Open,
            title: format!("{id} fails"),
            service: "shop".into(),
            owner: String::new(),
            users,
            opened_at: fixture::at("02:51:00"),
            resolved_at: None,
            acknowledged_by: None,
            snoozed_until: None,
            change: None,
            suspect: None,
            held_by: None,
        }
    }

    fn model(rows: Vec<Row>, reader: &Reader) -> Model<'_> {
        Model {
            rows,
            show: Show::All,
            from: 0,
            objectives: 24,
            evaluated_at: Some(fixture::at("03:12:20")),
            last_incident: None,
            evidence: None,
            heat: vec![],
            dimension: String::new(),
            anomalies: vec![],
            changes: vec![],
            actions: vec![],
            now: NOW,
            reader,
        }
    }

    #[test]
    fn pages_stand_before_tickets_and_many_users_before_few() {
        let mut rows = vec![row("a", Severity::Ticket, 900), row("b", Severity::Page, 10), row("c", Severity::Page, 20)];
        rank(&mut rows);
        assert_eq!(rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["c", "b", "a"]);
        let text = render(NOW, |reader| page(&model(rows, reader)));
        assert!(text.contains("3 open: up to 930 users hit") && text.contains("http-equiv=\"refresh\""));
    }

    #[test]
    fn many_incidents_are_shown_page_by_page_and_counted_whole() {
        let rows = || (0..120).map(|n| row(&format!("i{n:03}"), Severity::Page, 1_000 - n)).collect::<Vec<_>>();
        let text = render(NOW, |reader| page(&model(rows(), reader)));
        assert_eq!(text.matches("<li data-row").count(), ROWS);
        assert!(text.contains("120 open") && text.contains("104 more") && text.contains("/?from=16") && !text.contains("Worse"), "{text}");
        let text = render(NOW, |reader| page(&Model { from: 104, ..model(rows(), reader) }));
        assert!(text.contains("i119 fails") && !text.contains(" more<") && text.contains("/?from=88"));
        let text = render(NOW, |reader| page(&Model { from: 9_999, ..model(rows(), reader) }));
        assert_eq!(text.matches("<li data-row").count(), 0);
    }

    #[test]
    fn the_page_stays_light_with_a_full_hour_and_long_titles_in_every_row() {
        let title = "Checkout fails for 1 in 9 requests, almost all on release 2.3.1 in eu-west, ".repeat(3);
        let rows: Vec<Row> = (0..200)
            .map(|n| Row {
                title: title.clone(),
                change: Some(title.clone()),
                ..row(&format!("k7w3m5x8p2q9r4t{n:03}"), Severity::Page, 1_900)
            })
            .collect();
        let burning = rows.iter().map(|row| (row.id.clone(), (0..60).map(|i| Some(f64::from(i) * 3.3)).collect())).collect();
        let evidence = Some(Arc::new(Evidence { burning, ..Evidence::default() }));
        let text = render(NOW, |reader| page(&Model { evidence, ..model(rows, reader) }));
        assert_eq!(text.matches("class=\"spark\"").count(), ROWS);
        // Room for the cards below, which the daemon of `benches/pages` fills.
        assert!(text.len() < 34 * 1024, "{}", text.len());
        assert_light(&text);
    }

    #[test]
    fn an_empty_page_says_why_and_what_is_watched() {
        let text = render(NOW, |reader| page(&model(vec![], reader)));
        assert!(text.contains("24 objectives are watched") && text.contains("20 s ago"));
        let text = render(NOW, |reader| page(&Model { objectives: 0, evaluated_at: None, ..model(vec![], reader) }));
        assert!(text.contains("No rules yet"));
    }

    #[test]
    fn hostile_text_is_inert_in_lists() {
        let hostile = Row {
            id: HOSTILE.into(),
            title: HOSTILE.into(),
            service: HOSTILE.into(),
            acknowledged_by: Some(HOSTILE.into()),
            status: Status::Acknowledged,
            change: Some(HOSTILE.into()),
            held_by: Some(HOSTILE.into()),
            ..row("x", Severity::Page, 1)
        };
        assert_inert(&render(NOW, |reader| page(&model(vec![hostile.clone()], reader))));
    }

    #[test]
    fn a_row_has_the_line_of_its_last_hour_on_one_scale_and_no_line_where_none_is_known() {
        let burning =
            [("a".to_owned(), (0..60).map(|i| (i != 10 && i != 11).then_some(if i < 30 { 0.1 } else { 200.0 })).collect())].into();
        let evidence = Some(Arc::new(Evidence { burning, ..Evidence::default() }));
        let rows = vec![row("a", Severity::Page, 9), row("b", Severity::Ticket, 8)];
        let text = render(NOW, |reader| page(&Model { evidence, ..model(rows, reader) }));
        assert_eq!(text.matches("class=\"spark\"").count(), 1, "{text}");
        assert!(text.contains("burn over the last hour, log: at most 0.1× at first, 200× at last"), "{text}");
        assert!(!text.contains("H6V"), "the gap has no coordinate");
    }

    #[test]
    fn mine_are_those_that_i_own_or_acknowledged() {
        let rows = vec![
            Row { owner: "mira".into(), ..row("owned", Severity::Page, 9) },
            Row { acknowledged_by: Some("mira".into()), ..row("acked", Severity::Page, 8) },
            row("other", Severity::Page, 7),
        ];
        let text = render(NOW, |reader| page(&Model { show: Show::Mine, ..model(rows, reader) }));
        assert!(
            text.contains("owned fails") && text.contains("acked fails") && !text.contains("other fails") && text.contains("mine 2"),
            "{text}"
        );
    }
}
