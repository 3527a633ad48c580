//! What figures rest on: F1 to F7 by app, what the intake took, and whether evaluation and delivery do their work.

use maud::{Markup, html};

use super::slos::slo_path_of;
use crate::domain::time::{Span, Timestamp};
use crate::web::chart::plot::{Curve, Plot, sample};
use crate::web::chart::spark::Spark;
use crate::web::frame::{Page, Place, shape};
use crate::web::icon::{Tone, flag};
use crate::web::number;
use crate::web::text::{Plain, clip, coded, query};

/// Apps of one check that are shown; those that need a look come first.
const APPS_MAX: usize = 6;
/// Objectives that are named as held back.
const HELD_MAX: usize = 3;

/// How one check stands for one app.
#[derive(Clone, Debug, PartialEq)]
pub struct Signal {
    /// Empty: for all of them.
    pub app: String,
    pub tone: Tone,
    pub figure: String,
    /// What it usually is, or may be.
    pub usual: String,
    /// One value an hour, the last one newest, on a scale where `band` is what is fine.
    pub trend: Vec<Option<f64>>,
    pub band: Option<(f64, f64)>,
    /// Since when it needs a look, as far back as the trend goes.
    pub since: Option<Timestamp>,
}

/// One of F1 to F7, or another check of what arrives.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    pub name: &'static str,
    pub means: &'static str,
    /// Those that need a look first.
    pub signals: Vec<Signal>,
}

impl Check {
    /// A check of which nothing can be said, and why.
    pub fn unknown(name: &'static str, means: &'static str, why: &str) -> Check {
        let signal = Signal {
            app: String::new(),
            tone: Tone::Unknown,
            figure: number::NOT_MEASURED.into(),
            usual: why.into(),
            trend: Vec::new(),
            band: None,
            since: None,
        };
        Check { name, means, signals: vec![signal] }
    }

    fn needs_a_look(&self) -> bool {
        self.signals.iter().any(|signal| signal.tone == Tone::Ticket)
    }
}

/// What was read of the telemetry.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Telemetry {
    pub checks: Vec<Check>,
    pub volume: Option<Volume>,
    pub intake: Intake,
}

/// What beacons came to since the daemon started.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Intake {
    /// Protocol, and events by [`OUTCOMES`].
    pub protocols: Vec<(String, [f64; 5])>,
    /// The most first.
    pub reasons: Vec<(String, f64)>,
    pub redacted: Vec<(String, f64)>,
}

/// Of events, in the order of the table.
pub const OUTCOMES: [&str; 5] = ["accepted", "duplicate", "rejected", "sampled", "limited"];

/// Page views by hour and app.
#[derive(Clone, Debug, PartialEq)]
pub struct Volume {
    pub from: Timestamp,
    pub step: Span,
    pub curves: Vec<Curve>,
    pub until: Timestamp,
}

/// One thing that is known of the machinery.
#[derive(Clone, Debug, PartialEq)]
pub struct Fact {
    pub name: &'static str,
    pub tone: Tone,
    pub figure: String,
    /// What it means, or what to do.
    pub means: String,
}

/// The page's model.
pub struct Health<'a> {
    /// `None`: it is being read.
    pub telemetry: Option<&'a Telemetry>,
    pub machinery: &'a [Fact],
    /// Silent apps, each with the objectives that keep their state for want of its data.
    pub held: &'a [(String, Vec<String>)],
    /// The app that is asked for; empty: all.
    pub app: &'a str,
    pub now: Timestamp,
}

/// The page.
pub fn page(model: &Health<'_>) -> Page {
    let checks = model.telemetry.map(|known| &known.checks[..]).unwrap_or_default();
    let all = checks.len() + model.machinery.len();
    let bad = checks.iter().filter(|check| check.needs_a_look()).count()
        + model.machinery.iter().filter(|fact| matches!(fact.tone, Tone::Page | Tone::Ticket)).count();
    let heading = match bad {
        0 if model.telemetry.is_none() => "Telemetry is being read".to_owned(),
        0 => "Telemetry is well, as far as is known".to_owned(),
        1 => format!("1 of {all} checks needs a look"),
        n => format!("{n} of {all} checks need a look"),
    };
    let body = html! {
        div.head { h1 data-live="heading" { (heading) } p.muted { "What figures rest on: what arrives, how late, and whether it is evaluated, stored and delivered." } }
        section.card aria-labelledby="h-f" {
            header {
                h2 id="h-f" { "Telemetry" }
                span."small"."muted" { @if model.app.is_empty() { "the last day by the hour; shaded: what is fine" } @else { "app " b { (Plain(&clip(model.app, 60))) } " · " a href="/health" { "all apps" } } }
            }
            div data-live="facts" data-shape=(model.telemetry.map_or(String::new(), |known| shape(known.checks.iter().flat_map(|check| check.signals.iter().map(|signal| signal.app.as_str()))))) { @match model.telemetry {
                Some(telemetry) => (signals(telemetry, model)),
                None => { div.reading { p.empty { "Being read from stored history; it appears here by itself." } } }
            } }
        }
        div data-live="volume" { @if let Some(volume) = model.telemetry.and_then(|known| known.volume.as_ref()) { (chart(volume, model.now)) } }
        div data-live="intake" { @if let Some(telemetry) = model.telemetry { (intake(&telemetry.intake)) } }
        section.card aria-labelledby="h-m" { header { h2 id="h-m" { "Evaluation and delivery" } } div data-live="machinery" { (facts(model.machinery)) } }
    };
    let mut page = Page::new(heading, Place::Telemetry, body);
    page.json = Some("/readyz".into());
    page
}

fn signals(telemetry: &Telemetry, model: &Health<'_>) -> Markup {
    html! {
        table."stack"."health" {
            thead { tr { th scope="col" { "check" } th scope="col" { "app" } th scope="col" { "verdict" } th scope="col" { "figure" } th.sp scope="col" { "last day" } th scope="col" { "since" } th scope="col" { "holds back now" } } }
            @for check in &telemetry.checks {
                @let wanted: Vec<&Signal> = check.signals.iter().filter(|signal| model.app.is_empty() || signal.app.is_empty() || signal.app == model.app).collect();
                tbody {
                    @for (i, signal) in wanted.iter().take(APPS_MAX).enumerate() {
                        tr {
                            @if i == 0 { th scope="rowgroup" rowspan=(wanted.len().min(APPS_MAX)) { (check.name) span."small"."muted" { (coded(check.means)) } } }
                            td data-th="app" { @if signal.app.is_empty() { span.muted { "all" } } @else { a href={ "/health" (query(&[("app", &signal.app)])) } { (Plain(&clip(&signal.app, 40))) } } }
                            td { (verdict(signal.tone)) }
                            td data-th="figure" { (Plain(&clip(&signal.figure, 300))) @if !signal.usual.is_empty() { span."small"."muted" { br; (coded(&clip(&signal.usual, 300))) } } }
                            td.sp { (trend(signal)) }
                            td.nowrap data-th="since" { @match signal.since { Some(at) => (number::time(at, model.now)), None => span.muted { (if signal.tone == Tone::Fine { "fine" } else { "not known" }) } } }
                            td data-th="holds back" { (held(&signal.app, model)) }
                        }
                    }
                    @if wanted.len() > APPS_MAX { tr { td."small"."muted" colspan="7" { (check.name) ": " (wanted.len() - APPS_MAX) " more apps, no worse than these" } } }
                }
            }
        }
    }
}

fn verdict(tone: Tone) -> Markup {
    flag(
        tone,
        match tone {
            Tone::Fine => "Fine",
            Tone::Unknown => "Unknown",
            Tone::Info => "New",
            Tone::Page | Tone::Ticket => "Look",
        },
    )
}

fn trend(signal: &Signal) -> Markup {
    let high = signal.band.map_or(0.0, |(_, high)| high).max(signal.trend.iter().flatten().copied().fold(0.0, f64::max)) * 1.1;
    let words = |value: f64| number::share(value);
    html! { @if signal.trend.iter().any(Option::is_some) { (Spark { values: &signal.trend, low: 0.0, high, band: signal.band, words: &words, what: "by the hour" }.draw()) } }
}

/// What keeps its state because this app is silent.
fn held(app: &str, model: &Health<'_>) -> Markup {
    let names = model.held.iter().find(|(silent, _)| silent == app && !app.is_empty()).map(|(_, names)| &names[..]).unwrap_or_default();
    html! {
        @if names.is_empty() { span.muted { "nothing" } } @else {
            @for (i, name) in names.iter().take(HELD_MAX).enumerate() { @if i > 0 { ", " } a href=(slo_path_of(name)) { (Plain(&clip(name, 40))) } }
            @if names.len() > HELD_MAX { " and " (names.len() - HELD_MAX) " more" }
            span."small"."muted" { br; "keep their state" }
        }
    }
}

fn chart(volume: &Volume, now: Timestamp) -> Markup {
    html! {
        section.card aria-labelledby="h-v" {
            header { h2 id="h-v" { "Page views by hour, the last week" } span.small { @for (i, curve) in volume.curves.iter().enumerate() { " " (sample(i)) (Plain(&clip(&curve.name, 40))) } } }
            (Plot { id: "v", title: "Page views by hour and app".into(), from: volume.from, step: volume.step, curves: &volume.curves, bars: false, until: Some(volume.until), words: &number::count, now }.draw())
        }
    }
}

fn intake(intake: &Intake) -> Markup {
    let listed = |counts: &[(String, f64)]| {
        html! { @for (i, (name, count)) in counts.iter().take(8).enumerate() { @if i > 0 { ", " } (Plain(&clip(name, 40))) " " (number::exact(*count)) } @if counts.is_empty() { "none" } }
    };
    html! {
        section.card aria-labelledby="h-n" {
            header { h2 id="h-n" { "Intake" } span."small"."muted" { "events since the daemon started" } }
            @if intake.protocols.is_empty() { p.empty { "No beacon has come since the daemon started." } } @else {
                table.stack {
                    thead { tr { th scope="col" { "protocol" } @for outcome in OUTCOMES { th.num scope="col" { (outcome) } } } }
                    tbody { @for (protocol, counts) in intake.protocols.iter().take(12) { tr {
                        th scope="row" { (Plain(&clip(protocol, 40))) }
                        @for (outcome, count) in OUTCOMES.iter().zip(counts) { td.num data-th=(outcome) { (number::exact(*count)) } }
                    } } }
                }
            }
            dl.facts { dt { "rejected for" } dd { (listed(&intake.reasons)) } dt { "redacted in" } dd { (listed(&intake.redacted)) } }
        }
    }
}

fn facts(facts: &[Fact]) -> Markup {
    html! {
        table."stack"."facts-table" {
            thead { tr { th scope="col" { "check" } th scope="col" { "verdict" } th scope="col" { "figure" } th scope="col" { "means" } } }
            tbody { @for fact in facts { tr { th scope="row" { (fact.name) } td { (verdict(fact.tone)) } td { (Plain(&clip(&fact.figure, 400))) } td.muted { (coded(&fact.means)) } } } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::fixture::{HOSTILE, NOW, assert_inert, render};

    fn signal(app: &str, tone: Tone) -> Signal {
        Signal {
            app: app.into(),
            tone,
            figure: format!("{app} sends"),
            usual: "usually 53k".into(),
            trend: vec![Some(1.0), None, Some(0.4)],
            band: Some((0.5, 2.0)),
            since: (tone == Tone::Ticket).then_some(NOW - Span::hours(3)),
        }
    }

    fn shown(signals: Vec<Signal>, held: &[(String, Vec<String>)], app: &str) -> String {
        let telemetry = Telemetry { checks: vec![Check { name: "F1 volume", means: "a `drop`", signals }], ..Telemetry::default() };
        let fact = Fact { name: "outbox", tone: Tone::Fine, figure: "nothing waits".into(), means: "see `outbox`".into() };
        render(NOW, |_| page(&Health { telemetry: Some(&telemetry), machinery: &[fact], held, app, now: NOW }))
    }

    #[test]
    fn a_check_says_since_when_and_what_it_holds_back() {
        let held = [("payment-3ds".to_owned(), ["a", "b", "c", "d"].map(str::to_owned).to_vec())];
        let text = shown(vec![signal("payment-3ds", Tone::Ticket), signal("shop", Tone::Fine)], &held, "");
        assert!(text.contains("1 of 2 checks needs a look") && text.contains("00:12") && text.contains("and 1 more"), "{text}");
        assert!(text.contains("<code>drop</code>") && !text.contains('`'), "{text}");
        assert!(text.contains("class=\"spark\"") && text.contains("class=\"band\""));
        let one = shown(vec![signal("payment-3ds", Tone::Ticket), signal("shop", Tone::Fine)], &held, "shop");
        assert!(one.contains("shop sends") && !one.contains("payment-3ds sends"));
    }

    #[test]
    fn many_apps_are_bounded_and_counted() {
        let text = shown((0..500).map(|n| signal(&format!("app-{n:03}"), Tone::Fine)).collect(), &[], "");
        assert!(text.contains("app-005 sends") && !text.contains("app-006 sends") && text.contains("494 more apps"), "{text}");
        assert!(text.len() < 64 * 1024, "{}", text.len());
    }

    #[test]
    fn what_is_still_being_read_says_so() {
        let text = render(NOW, |_| page(&Health { telemetry: None, machinery: &[], held: &[], app: "", now: NOW }));
        assert!(text.contains("being read") && text.contains("data-live=\"facts\"") && !text.contains("Fine"), "{text}");
    }

    #[test]
    fn hostile_text_is_inert_on_the_health_page() {
        let signals = vec![Signal { usual: HOSTILE.into(), ..signal(HOSTILE, Tone::Ticket) }];
        let curves = vec![Curve { name: HOSTILE.into(), values: vec![Some(412.0), None, Some(500.0)] }];
        let volume = Volume { from: NOW - Span::hours(3), step: Span::HOUR, curves, until: NOW };
        let pair = || vec![(HOSTILE.to_owned(), 3.0)];
        let intake = Intake { protocols: vec![(HOSTILE.into(), [1.0; 5])], reasons: pair(), redacted: pair() };
        let telemetry = Telemetry { checks: vec![Check { name: "F1 volume", means: "x", signals }], volume: Some(volume), intake };
        let fact = Fact { name: "outbox", tone: Tone::Ticket, figure: HOSTILE.into(), means: HOSTILE.into() };
        let held = [(HOSTILE.to_owned(), vec![HOSTILE.to_owned()])];
        let shown = render(NOW, |_| page(&Health { telemetry: Some(&telemetry), machinery: &[fact], held: &held, app: HOSTILE, now: NOW }));
        assert_inert(&shown);
        assert!(shown.contains("2 of 2 checks need a look") && shown.contains("url(#v-h)") && shown.contains(">412<"));
    }
}
