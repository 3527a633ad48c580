//! The few shapes that stand beside words: inline SVG without style or script.

use maud::{Markup, PreEscaped, html};

use crate::domain::rule::Severity;

/// A shape of its own for each meaning, told apart without colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Icon {
    Page,
    Ticket,
    Info,
    Fine,
    Unknown,
    Rising,
    Falling,
    Change,
    Dot,
    Brand,
}

impl Icon {
    /// The shape as markup; the word beside it says what it means.
    pub fn svg(self) -> Markup {
        let inner = match self {
            Icon::Page => r#"<path d="M8 1 15.5 15H.5z" fill="currentColor"/>"#,
            Icon::Ticket => r#"<path d="M8 .8 15.2 8 8 15.2.8 8z" fill="currentColor"/>"#,
            Icon::Info => r#"<circle cx="8" cy="8" r="6.5" fill="currentColor"/>"#,
            Icon::Fine => r#"<path d="m2 8.5 4 4 8-9" fill="none" stroke="currentColor" stroke-width="2.6"/>"#,
            Icon::Unknown => r#"<path d="M2 14 14 2M2 8l6-6M8 14l6-6" stroke="currentColor" stroke-width="2" fill="none"/>"#,
            Icon::Rising => r#"<path d="M3 13 13 3M5 3h8v8" fill="none" stroke="currentColor" stroke-width="2.4"/>"#,
            Icon::Falling => r#"<path d="M3 3 13 13M13 5v8H5" fill="none" stroke="currentColor" stroke-width="2.4"/>"#,
            Icon::Change => r#"<path d="M8 1.5 14.5 8 8 14.5 1.5 8z" fill="none" stroke="currentColor" stroke-width="2.2"/>"#,
            Icon::Dot => r#"<circle cx="8" cy="8" r="5" fill="none" stroke="currentColor" stroke-width="2.2"/>"#,
            Icon::Brand => {
                r#"<path d="M1 14.5 6.2 4.2l3 5.2L15 1.5" fill="none" stroke="currentColor" stroke-width="2.2" stroke-linejoin="round"/>"#
            }
        };
        html! { svg viewBox="0 0 16 16" aria-hidden="true" { (PreEscaped(inner)) } }
    }
}

/// What colour a flag has; its shape and word say the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Page,
    Ticket,
    Info,
    Fine,
    Unknown,
}

impl Tone {
    /// The class that carries the text colour.
    pub const fn class(self) -> &'static str {
        match self {
            Tone::Page => "f-page",
            Tone::Ticket => "f-ticket",
            Tone::Info => "f-info",
            Tone::Fine => "f-ok",
            Tone::Unknown => "f-unknown",
        }
    }

    /// The tone's own shape.
    pub const fn icon(self) -> Icon {
        match self {
            Tone::Page => Icon::Page,
            Tone::Ticket => Icon::Ticket,
            Tone::Info => Icon::Info,
            Tone::Fine => Icon::Fine,
            Tone::Unknown => Icon::Unknown,
        }
    }
}

impl From<Severity> for Tone {
    fn from(severity: Severity) -> Tone {
        match severity {
            Severity::Page => Tone::Page,
            Severity::Ticket => Tone::Ticket,
            Severity::Info => Tone::Info,
        }
    }
}

/// Shape, word and colour together.
pub fn flag(tone: Tone, word: &str) -> Markup {
    flag_with(tone, tone.icon(), word)
}

/// A flag with another shape than the tone's own.
pub fn flag_with(tone: Tone, icon: Icon, word: &str) -> Markup {
    html! { span class={ "flag " (tone.class()) } { (icon.svg()) (word) } }
}

/// An incident's or alert's severity; a page stands on solid ground.
pub fn severity(severity: Severity) -> Markup {
    match severity {
        Severity::Page => html! { span.flag.solid { (Icon::Page.svg()) "PAGE" } },
        Severity::Ticket => flag(Tone::Ticket, "TICKET"),
        Severity::Info => flag(Tone::Info, "INFO"),
    }
}
