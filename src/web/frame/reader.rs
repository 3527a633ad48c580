//! Who looks at a page, and what they may do on it.

use maud::{Markup, html};

use crate::web::text::Plain;

/// Who looks, and what they may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reader {
    pub name: String,
    pub operate: bool,
    pub admin: bool,
    /// Goes into every form; empty when nothing may be changed.
    pub csrf: String,
    /// Fixed by `/me`; `None` follows the system.
    pub theme: Option<Theme>,
    /// Whether single keys act.
    pub keys_off: bool,
}

/// A theme fixed by the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theme {
    Light,
    Dark,
}

impl Theme {
    /// As it stands in the cookie and on `html`.
    pub const fn name(self) -> &'static str {
        match self {
            Theme::Light => "light",
            Theme::Dark => "dark",
        }
    }

    /// Reads [`Theme::name`].
    pub fn parse(name: &str) -> Option<Theme> {
        [Theme::Light, Theme::Dark].into_iter().find(|theme| theme.name() == name)
    }
}

impl Reader {
    /// The hidden field that every form carries.
    pub fn token(&self) -> Markup {
        html! { input type="hidden" name="csrf" value=(self.csrf); }
    }

    /// A form with one button, or nothing for who may not operate.
    pub fn button(&self, path: &str, label: &str, class: &str, key: Option<&str>) -> Markup {
        html! {
            @if self.operate {
                form method="post" action=(path) { (self.token()) button class=(class) data-key=[key] { (label) } }
            }
        }
    }

    /// Why there are no buttons, where there are none.
    pub fn hint(&self) -> Markup {
        html! {
            @if !self.operate {
                p."small"."muted" { "Signed in as " (Plain(&self.name)) " with the scope " code { "read" } ": acting takes the scope " code { "operate" } "." }
            }
        }
    }
}
