//! The form of a silence: rows of matchers, how long, why, and what it would do before it does.

use maud::{Markup, html};

use super::incident::{path, short_id};
use crate::domain::time::Timestamp;
use crate::web::frame::{Page, Place, Reader};
use crate::web::icon::{Tone, flag};
use crate::web::number;
use crate::web::text::{Plain, clip, plain};

/// Rows of one form.
pub const ROWS_MAX: usize = 12;
/// What a value is compared by: as it is written, and in words.
pub const OPERATORS: [(&str, &str); 4] = [("=", "is"), ("!=", "is not"), ("=~", "matches"), ("!~", "matches not")];
/// Lengths that are one press away: as they are typed, and in words.
pub const QUICK: [(&str, &str); 4] = [("15m", "15 min"), ("1h", "1 h"), ("4h", "4 h"), ("09:00", "until 09:00 UTC")];

/// One row: name, operator, value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    pub name: String,
    pub operator: String,
    pub value: String,
}

impl Row {
    /// Reads a matcher as it is written; what has no operator is a name.
    pub fn read(text: &str) -> Row {
        let at = text.find(['=', '!']).unwrap_or(text.len());
        let (name, rest) = text.split_at(at);
        let operator = ["=~", "!~", "!=", "="].into_iter().find(|operator| rest.starts_with(operator)).unwrap_or("=");
        let value = rest.strip_prefix(operator).unwrap_or(rest);
        Row { name: name.trim().into(), operator: operator.into(), value: value.into() }
    }

    /// As the API writes it.
    pub fn text(&self) -> String {
        format!("{}{}{}", self.name, self.operator, self.value)
    }
}

/// What a silence would hold back now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preview {
    pub alerts: usize,
    pub pages: usize,
    /// Rules of these alerts.
    pub named: Vec<String>,
    /// Open incidents that they are in: they stay open.
    pub incidents: Vec<String>,
    pub past: Past,
}

/// What matchers would have held back in a span of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Past {
    pub alerts: usize,
    pub incidents: usize,
    /// Incidents of severity page among them.
    pub pages: usize,
    /// There were more incidents than were looked at.
    pub more: bool,
}

/// `41 alerts in 2 incidents, 1 of them a page`.
pub fn past_words(past: &Past) -> String {
    let count = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    if past.incidents == 0 {
        return if past.more { "nothing of what was looked at".into() } else { "nothing".into() };
    }
    let least = if past.more { "at least " } else { "" };
    let pages = match past.pages {
        0 => "none of them a page".to_owned(),
        1 => "1 of them a page".to_owned(),
        n => format!("{n} of them pages"),
    };
    format!("{least}{} in {}, {pages}", count(past.alerts, "alert"), count(past.incidents, "incident"))
}

/// A half-filled silence, and what it would do.
pub struct Model<'a> {
    pub rows: &'a [Row],
    /// How long, or until when, as it is typed.
    pub lasts: String,
    /// When it would end, if that can be read.
    pub ends: Option<Timestamp>,
    /// When each of [`QUICK`] would end.
    pub quick: [Option<Timestamp>; 4],
    pub comment: String,
    /// What the matchers match now; `None` while there are none that can be read.
    pub preview: Option<Preview>,
    /// It lasts long or holds back much: what it will do is said once more before it does.
    pub confirm: bool,
    /// Label names that alerts have now.
    pub labels: Vec<String>,
    pub reader: &'a Reader,
    pub now: Timestamp,
}

/// The form with its preview.
pub fn page(model: &Model<'_>) -> Page {
    let body = html! {
        div.head { p.small { a href="/silences" { "← silences" } } h1 { "New silence" } p.lede { "What matches is evaluated and recorded, and tells nobody." } }
        (model.reader.hint())
        @if let Some(preview) = &model.preview { (shown(preview, model)) }
        @if model.reader.operate && model.confirm { (confirm(model)) }
        @if model.reader.operate { (form(model)) }
    };
    Page::new("New silence", Place::Silences, body)
}

fn shown(preview: &Preview, model: &Model<'_>) -> Markup {
    html! {
        section.card aria-label="Preview" {
            @if preview.alerts == 0 { p { (flag(Tone::Info, "Matches nothing now")) " It will hold back what fires later." } } @else {
                p {
                    (flag(Tone::Ticket, &format!("Holds back {} now", preview.alerts))) " " (preview.pages) (if preview.pages == 1 { " of them pages. " } else { " of them page. " })
                    @for (i, id) in preview.incidents.iter().take(4).enumerate() { @if i > 0 { ", " } a href=(path(id)) { "#" (short_id(id)) } }
                    @if preview.incidents.len() > 4 { " and " (preview.incidents.len() - 4) " more" }
                    @match preview.incidents.len() { 0 => {} 1 => " stays open and tells nobody of them.", _ => " stay open and tell nobody of them." }
                }
                p."small"."muted" { (Plain(&clip(&preview.named.join(", "), 300))) }
            }
            p { "Over the last 30 days it would have hidden " b { (past_words(&preview.past)) } "." }
            @if let Some(ends) = model.ends { p { "It ends " (end(ends, model.now)) "." } }
        }
    }
}

/// An end that a person chooses: the script puts the local time beside it.
pub fn end(at: Timestamp, now: Timestamp) -> Markup {
    html! { span.end data-end { (number::time(at, now)) " UTC" } }
}

fn form(model: &Model<'_>) -> Markup {
    let typed = !QUICK.iter().any(|(value, _)| *value == model.lasts);
    html! {
        section.card aria-label="Silence" {
            form.silence method="post" action="/silences/new" {
                (model.reader.token())
                // The first button is what Enter presses.
                button formmethod="get" formaction="/silences/new" hidden { "Preview" }
                fieldset {
                    legend { "Match " span."small"."muted" { "all rows have to match; a row without a name is left out" } }
                    @for (i, row) in model.rows.iter().enumerate() { (one(i, row)) }
                    @if model.rows.len() < ROWS_MAX { button."btn"."quiet" formmethod="get" formaction="/silences/new" formnovalidate name="add" value="1" aria-label="Add a row" { "+ row" } }
                    datalist id="labels" { @for label in &model.labels { option value=(plain(label)) {} } }
                }
                fieldset {
                    legend { "For" }
                    div.choices {
                        @for ((value, words), ends) in QUICK.iter().zip(model.quick) {
                            label.choice { input type="radio" name="for" value=(value) checked[*value == model.lasts]; span { (words) @if let Some(ends) = ends { span."small"."muted" { br; "ends " (end(ends, model.now)) } } } }
                        }
                        label.choice { input type="radio" name="for" value="typed" checked[typed]; span { "as typed" span."small"."muted" { br; "45m, 2d, or 18:30 UTC" } } }
                        label.typed { span.vh { "How long, or until when in UTC" } input id="f" name="typed" maxlength="20" value=(if typed { clip(&model.lasts, 20) } else { String::new() }) autocomplete="off" placeholder="2d"; }
                    }
                }
                p { label for="c" { b { "Why" } } input.wide-input id="c" name="comment" maxlength="500" value=(clip(&model.comment, 500)) autocomplete="off"; }
                p."small"."muted" { "Budgets keep counting. Planned work whose time should be taken out of them is a " code { "maintenance(…)" } " in the rules." }
                div.actions {
                    button.btn formmethod="get" formaction="/silences/new" { "Preview" }
                    button."btn"."primary" { "Silence" }
                }
            }
        }
    }
}

fn one(i: usize, row: &Row) -> Markup {
    let label = |what: &str| format!("{what} {}", i + 1);
    html! {
        div.matcher {
            input name={ "n" (i) } value=(clip(&row.name, 200)) maxlength="200" autocomplete="off" autocapitalize="off" spellcheck="false" list="labels" placeholder="label" aria-label=(label("Label"));
            select name={ "o" (i) } aria-label=(label("Comparison")) { @for (operator, words) in OPERATORS { option value=(operator) selected[operator == row.operator] { (operator) " " (words) } } }
            input name={ "v" (i) } value=(clip(&row.value, 500)) maxlength="500" autocomplete="off" autocapitalize="off" spellcheck="false" placeholder="value" aria-label=(label("Value"));
        }
    }
}

/// What a long or wide silence will do, before it does.
fn confirm(model: &Model<'_>) -> Markup {
    let now = model.preview.as_ref().map_or(0, |preview| preview.alerts);
    html! {
        section.card aria-labelledby="h-sure" {
            header { h2 id="h-sure" { (flag(Tone::Ticket, "Are you sure?")) } }
            p { "It lasts " b { (Plain(&clip(&model.lasts, 20))) } @if let Some(ends) = model.ends { ", until " (end(ends, model.now)) "," } " and holds back " b { (now) " " (if now == 1 { "alert" } else { "alerts" }) } " now: whatever matches meanwhile is recorded and tells nobody. It can be ended at any time." }
            form method="post" action="/silences/new" {
                (model.reader.token())
                @for (i, row) in model.rows.iter().enumerate() { @for (name, value) in [("n", &row.name), ("o", &row.operator), ("v", &row.value)] { input type="hidden" name={ (name) (i) } value=(plain(value)); } }
                input type="hidden" name="for" value=(clip(&model.lasts, 20));
                input type="hidden" name="comment" value=(clip(&model.comment, 500));
                input type="hidden" name="sure" value="yes";
                div.actions { button."btn"."primary" { "Silence for " (Plain(&clip(&model.lasts, 20))) } a.btn href="/silences" { "Leave it" } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::fixture::{HOSTILE, NOW, assert_inert, render};

    fn shown(rows: &[Row], lasts: &str, preview: Option<Preview>, text: &str) -> String {
        render(NOW, |reader| {
            page(&Model {
                rows,
                lasts: lasts.into(),
                ends: Some(crate::web::fixture::at("04:12:00")),
                quick: [Some(NOW); 4],
                comment: text.into(),
                preview,
                confirm: true,
                labels: vec![text.into()],
                reader,
                now: NOW,
            })
        })
    }

    #[test]
    fn a_matcher_is_read_into_its_row_and_written_back() {
        for text in ["service=shop", "region=~eu.*", "severity!=page", "route!~/api/.*", "a=b=c", "message=!x", "empty="] {
            assert_eq!(Row::read(text).text(), text);
        }
        assert_eq!(Row::read("region=~eu.*"), Row { name: "region".into(), operator: "=~".into(), value: "eu.*".into() });
        assert_eq!(Row::read("service").text(), "service=");
    }

    #[test]
    fn the_form_has_a_row_for_each_matcher_and_chooses_the_length_that_was_chosen() {
        let rows = [Row::read("service=shop"), Row::read("region!~eu.*"), Row::default()];
        let text = shown(&rows, "4h", None, "x");
        for part in [
            "name=\"n0\" value=\"service\"",
            "name=\"v1\" value=\"eu.*\"",
            "name=\"n2\" value=\"\"",
            "value=\"!~\" selected",
            "name=\"add\"",
            "value=\"4h\" checked",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains("value=\"typed\" checked"));
        let typed = shown(&rows, "2d", None, "x");
        assert!(typed.contains("value=\"typed\" checked") && typed.contains("name=\"typed\" maxlength=\"20\" value=\"2d\""));
        assert!(!shown(&vec![Row::default(); ROWS_MAX], "1h", None, "x").contains("name=\"add\""), "rows are bounded");
    }

    #[test]
    fn hostile_text_is_inert_in_the_form_and_its_preview() {
        let past = Past { alerts: 41, incidents: 2, pages: 1, more: false };
        let preview = Preview { alerts: 1, pages: 1, named: vec![HOSTILE.into()], incidents: vec![HOSTILE.into()], past };
        let row = Row { name: HOSTILE.into(), operator: HOSTILE.into(), value: HOSTILE.into() };
        let text = shown(&[row], HOSTILE, Some(preview), HOSTILE);
        assert_inert(&text);
        assert!(text.contains("41 alerts in 2 incidents, 1 of them a page") && text.contains("Are you sure?"));
    }
}
