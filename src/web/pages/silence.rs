//! One silence: what it matches, who made it and why, what it holds back now and has held back.

use maud::html;

use super::incident::{path, short_id};
use super::new_silence::{Past, Preview, past_words};
use super::silences::Silence;
use crate::domain::rule::Severity;
use crate::domain::time::{Span, Timestamp};
use crate::web::frame::{Page, Place, Reader};
use crate::web::icon::{Tone, flag, severity};
use crate::web::number;
use crate::web::text::{Plain, clip, query, segment};

/// An incident that a silence covered.
#[derive(Clone, Debug, PartialEq)]
pub struct Covered {
    pub id: String,
    pub title: String,
    pub severity: Severity,
    pub opened_at: Timestamp,
}

/// The page's model.
pub struct Model<'a> {
    pub silence: &'a Silence,
    /// When it was made; `None` for one that is written in rules.
    pub made_at: Option<Timestamp>,
    /// What it matches now.
    pub holds: Preview,
    /// What it has covered since it began.
    pub past: Past,
    /// The newest of these.
    pub covered: Vec<Covered>,
    pub now: Timestamp,
    pub reader: &'a Reader,
}

/// The page.
pub fn page(model: &Model<'_>) -> Page {
    let silence = model.silence;
    let active = silence.state == "active";
    let matchers = silence.matchers.join("\n");
    let body = html! {
        div.head {
            p.small { a href="/silences" { "← silences" } }
            div.state {
                @match silence.state {
                    "active" => (flag(Tone::Info, "Active")),
                    "pending" => (flag(Tone::Unknown, "Upcoming")),
                    _ => (flag(Tone::Fine, "Ended")),
                }
                span.muted { @if silence.in_rules { "written in rules" } @else { "silence " code { (short_id(&silence.id)) } } }
            }
            h1 { @for (i, matcher) in silence.matchers.iter().enumerate() { @if i > 0 { " and " } (Plain(&clip(matcher, 120))) } }
            p.lede { @if silence.comment.is_empty() { span.muted { "No reason was given." } } @else { (Plain(&clip(&silence.comment, 400))) } }
        }
        dl.figures {
            div { dt { "Until" } dd { span.big { (number::time(silence.ends, model.now)) } span.sub { @if active { "in " (number::duration(silence.ends - model.now)) @if silence.ends - model.now < Span::HOUR { " " (flag(Tone::Ticket, "soon")) } } @else { "UTC" } } } }
            div { dt { "Since" } dd { span.big { @if silence.starts > Timestamp(0) { (number::time(silence.starts, model.now)) } @else { "always" } } span.sub { "by " (Plain(&clip(&silence.author, 80))) } } }
            div { dt { "Holds back now" } dd { span.big { (model.holds.alerts) } span.sub { (model.holds.pages) " of them would page" } } }
            div { dt { "Has covered" } dd { span.big { (model.past.incidents) } span.sub { (past_words(&model.past)) } } }
        }
        @if let Some(reminder) = &silence.reminder { p { (flag(Tone::Ticket, "Look")) " " (Plain(&clip(reminder, 200))) } }
        div.actions {
            @if model.reader.operate {
                @if silence.state != "expired" && !silence.in_rules { (model.reader.button(&format!("/silences/{}/end", segment(&silence.id)), "End now", "btn primary", None)) }
                a.btn href={ "/silences/new" (query(&[("m", &matchers), ("comment", &silence.comment)])) } { "Another like it…" }
            }
        }
        (model.reader.hint())
        section.card aria-labelledby="h-n" {
            header { h2 id="h-n" { "Held back now" } }
            @if model.holds.alerts == 0 { p.empty { @if active { "No alert that fires now matches." } @else { "It is not in force." } } } @else { p { (Plain(&clip(&model.holds.named.join(", "), 400))) } }
        }
        section.card aria-labelledby="h-c" {
            header { h2 id="h-c" { "Incidents that it covered" } span."small"."muted" { (past_words(&model.past)) } }
            @if model.covered.is_empty() { p.empty { "None opened under it." } }
            ul."plain"."dl" { @for one in &model.covered { li {
                span { (severity(one.severity)) " " a href=(path(&one.id)) { (Plain(&clip(&one.title, 120))) } }
                span."muted"."nowrap" { (number::time(one.opened_at, model.now)) }
            } } }
        }
    };
    let mut page = Page::new(format!("Silence, {}: {}", silence.state, clip(&silence.matchers.join(", "), 80)), Place::Silences, body);
    page.json = (!silence.in_rules).then(|| format!("/v1/silences/{}", segment(&silence.id)));
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::fixture::{HOSTILE, NOW, assert_inert, render};

    fn shown(text: &str, held: usize) -> String {
        let silence = Silence {
            id: text.into(),
            matchers: vec![text.into()],
            state: "active",
            starts: NOW - Span::days(9),
            ends: NOW + Span::minutes(50),
            author: text.into(),
            comment: text.into(),
            holds: held,
            reminder: (held == 0).then(|| format!("it has hidden nothing: {text}")),
            in_rules: false,
        };
        let covered = vec![Covered { id: text.into(), title: text.into(), severity: Severity::Page, opened_at: NOW }];
        let past = Past { alerts: held * 3, incidents: held, pages: held, more: false };
        let holds = Preview { alerts: held, pages: held, named: vec![text.into()], incidents: vec![], past: Past::default() };
        render(NOW, |reader| page(&Model { silence: &silence, made_at: Some(NOW), holds, past, covered, now: NOW, reader }))
    }

    #[test]
    fn a_silence_says_what_it_held_and_when_it_holds_nothing() {
        let text = shown("service=shop", 2);
        for part in ["6 alerts in 2 incidents, 2 of them pages", "in 50 min", "soon", "End now"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains("it has hidden nothing") && shown("service=shop", 0).contains("it has hidden nothing"));
        assert_inert(&shown(HOSTILE, 1));
    }
}
