//! What every page has around its content: top bar, trust strip, outcome, footer.

mod reader;
mod trust;

use maud::{DOCTYPE, Markup, html};

pub use reader::{Reader, Theme};
pub use trust::{Trust, short_revision};

use super::asset;
use super::icon::{Icon, Tone, flag};
use super::number;
use super::text::{Plain, plain};
use crate::domain::time::Timestamp;

/// The pages of the top bar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    OnCall,
    Overview,
    Slos,
    Silences,
    Rules,
    Telemetry,
    Notifications,
    #[default]
    Elsewhere,
}

const BAR: [(Place, &str, &str); 7] = [
    (Place::OnCall, "/", "On call"),
    (Place::Overview, "/overview", "Overview"),
    (Place::Slos, "/slos", "SLOs"),
    (Place::Silences, "/silences", "Silences"),
    (Place::Rules, "/rules", "Rules"),
    (Place::Telemetry, "/health", "Telemetry"),
    (Place::Notifications, "/notifications", "Notifications"),
];

/// How an action went, said once at the top of the next page.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Outcome {
    pub good: bool,
    pub text: String,
    /// Path to POST to, and what the button says.
    pub undo: Option<(String, String)>,
}

/// What surrounds the content.
#[derive(Clone, Debug, Default)]
pub struct Frame {
    pub now: Timestamp,
    pub reader: Reader,
    pub open: usize,
    /// Whether one of the open incidents is a page.
    pub paging: bool,
    pub trust: Trust,
    pub outcome: Option<Outcome>,
    /// Whether the demo's inbox is there to be linked to.
    pub inbox: bool,
    /// The last event that this page knows of.
    pub event: String,
}

/// Another one when rows come, go or move: the script fills a list in place only while its shape stays.
pub fn shape<'a>(rows: impl IntoIterator<Item = &'a str>) -> String {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    rows.into_iter().for_each(|row| row.hash(&mut hasher));
    format!("{:x}", hasher.finish())
}

/// Seconds after which a page without script is loaded anew.
pub const REFRESH: u8 = 60;

/// One page's own part.
pub struct Page {
    pub title: String,
    pub place: Place,
    /// Class of `main`.
    pub class: &'static str,
    /// Seconds until it is loaded anew without script: only pages without forms that are typed into.
    pub refresh: Option<u8>,
    /// The same data as JSON.
    pub json: Option<String>,
    /// Changes when rows come, go or move; figures may change in place without it.
    pub shape: String,
    pub body: Markup,
}

impl Page {
    /// A page without JSON twin that is not refreshed.
    pub fn new(title: impl Into<String>, place: Place, body: Markup) -> Page {
        Page { title: title.into(), place, class: "", refresh: None, json: None, shape: String::new(), body }
    }
}

impl Frame {
    /// The whole document.
    pub fn render(&self, page: Page) -> Markup {
        html! {
            (DOCTYPE)
            html lang="en" data-theme=[self.reader.theme.map(Theme::name)] {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (plain(&page.title)) " · burnwatch" }
                    link rel="icon" href="data:,";
                    link rel="stylesheet" href=(asset::style().url());
                    script src=(asset::script().url()) defer {}
                    @if let Some(seconds) = page.refresh {
                        noscript { meta http-equiv="refresh" content=(seconds); }
                    }
                }
                body data-now=(self.now.millis()) data-event=[self.known().then_some(&self.event)] data-keys=[self.reader.keys_off.then_some("off")] {
                    a.skip href="#main" { "Skip to content" }
                    (self.bar(page.place))
                    @if self.known() { (self.trust.strip(self.now, self.inbox)) }
                    main id="main" class={ "wrap " (page.class) } data-shape=(plain(&page.shape)) {
                        (self.said())
                        (page.body)
                    }
                    (self.foot(page.json.as_deref()))
                    (keys())
                }
            }
        }
    }

    /// Whether anybody is known: before that nothing of the inside is shown.
    fn known(&self) -> bool {
        !self.reader.name.is_empty()
    }

    fn bar(&self, place: Place) -> Markup {
        if !self.known() {
            return html! {
                header.top { div.wrap { a.brand href="/" { (Icon::Brand.svg()) "burnwatch" } nav aria-label="Main" { a href="/sign-in" { "Sign in" } } } }
            };
        }
        let links = |here: Place| {
            html! {
                @for (at, href, name) in BAR {
                    a href=(href) aria-current=[(at == here).then_some("page")] {
                        (name)
                        @if at == Place::OnCall { " " (self.count()) }
                    }
                }
            }
        };
        html! {
            header.top {
                div.wrap {
                    a.brand href="/" { (Icon::Brand.svg()) "burnwatch" }
                    nav.nav aria-label="Main" { (links(place)) }
                    span."wide"."small"."muted"."nowrap" {
                        a href="/me" { (Plain(&self.reader.name)) }
                        " · " span data-live="clock" { (number::time_seconds(self.now, self.now)) " UTC" }
                    }
                    details.menu {
                        summary { (self.count()) " Menu" }
                        nav aria-label="Main, small screen" {
                            (links(place))
                            @if self.inbox { a href="/inbox" { "Inbox" } }
                            a href="/me" { (Plain(&self.reader.name)) }
                        }
                    }
                }
            }
        }
    }

    fn count(&self) -> Markup {
        let class = if self.paging { "count hot" } else { "count" };
        html! {
            span class=(class) data-live="open" {
                @if self.open > 0 { (self.open) span.vh { " open" } }
            }
        }
    }

    fn said(&self) -> Markup {
        html! {
            @if let Some(outcome) = &self.outcome {
                div id="outcome" class=(if outcome.good { "outcome" } else { "outcome bad" }) role="status" tabindex="-1" {
                    span.any { (flag(if outcome.good { Tone::Fine } else { Tone::Page }, if outcome.good { "Done" } else { "Not done" })) " " (Plain(&outcome.text)) }
                    @if let Some((path, label)) = &outcome.undo {
                        @if self.reader.operate {
                            form method="post" action=(path) { (self.reader.token()) button.btn.quiet { (Plain(label)) } }
                        }
                    }
                }
            }
        }
    }

    fn foot(&self, json: Option<&str>) -> Markup {
        html! {
            footer.foot {
                div.wrap {
                    @if self.known() {
                    span.wide { kbd { "?" } " keys · " }
                    "All times UTC; hold or hover for local · "
                    @if let Some(json) = json { a href=(json) { "this page as JSON" } " · " }
                    a href="/query" { "query" } " · " a href="/changes" { "changes" } " · " a href="/reports/week" { "reviews" } " · " a href="/incidents" { "archive" } " · " a href="/audit" { "audit" }
                    " · "
                    }
                    "burnwatch " (env!("CARGO_PKG_VERSION"))
                }
            }
        }
    }
}

fn keys() -> Markup {
    let known = [
        ("?", "this help"),
        ("/", "search"),
        ("g then c o s r t n", "on call, overview, SLOs, rules, telemetry, notifications"),
        ("j k", "next, previous row"),
        ("a", "acknowledge"),
        ("s", "silence"),
        ("n", "note"),
        ("u", "show updates"),
    ];
    html! {
        dialog id="keys" aria-labelledby="h-keys" {
            h2 id="h-keys" { "Keys" }
            dl { @for (key, does) in known { dt { kbd { (key) } } dd { (does) } } }
            form method="dialog" { button.btn { "Close" } }
        }
    }
}

/// A page that says what went wrong and leads back.
pub fn problem(frame: &Frame, title: &str, what: &str, next: &str, request: Option<&str>) -> Markup {
    frame.render(Page::new(
        title,
        Place::Elsewhere,
        html! {
            div.head { h1 { (Plain(title)) } }
            p.lede { (Plain(what)) }
            p { (Plain(next)) }
            @if let Some(request) = request { p."small"."muted" { "request " code { (Plain(request)) } } }
            div.actions {
                a.btn.primary href="/" { "On call" }
                a.btn href="/incidents" { "All incidents" }
                a.btn href="/slos" { "SLOs" }
            }
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Span;

    fn frame() -> Frame {
        Frame {
            now: Timestamp(1_800_000_000_000),
            reader: Reader { name: "<b>mira\u{202e}".into(), ..Reader::default() },
            ..Frame::default()
        }
    }

    #[test]
    fn nothing_measured_is_not_called_live() {
        let page = frame().render(Page::new("x", Place::OnCall, html! {})).into_string();
        assert!(page.contains("Waiting") && !page.contains(">Live<"));
    }

    #[test]
    fn old_figures_are_called_stale_and_colour_the_strip() {
        let mut frame = frame();
        frame.trust = Trust { measured_to: Some(frame.now - Span::minutes(10)), stale_after: Span::minutes(3), ..Trust::default() };
        let page = frame.render(Page::new("x", Place::OnCall, html! {})).into_string();
        assert!(page.contains("Stale") && page.contains("trust bad"));
    }

    #[test]
    fn hostile_names_are_inert_and_nothing_is_inline() {
        let mut frame = frame();
        frame.outcome = Some(Outcome { good: true, text: "<script>alert(1)</script>".into(), undo: None });
        let page = frame.render(Page::new("</title><script>", Place::OnCall, html! {})).into_string();
        assert!(!page.contains("<b>mira") && !page.contains('\u{202e}') && !page.contains("<script>"), "{page}");
        assert!(!page.contains(" style=") && !page.contains("onclick"));
    }
}
