//! Signing in, and what belongs to one's own browser.

use maud::html;

use crate::domain::time::Timestamp;
use crate::web::frame::{Frame, Page, Place, Reader, Theme};
use crate::web::number;
use crate::web::text::{Plain, clip};

/// One field, one button, why it failed; nothing else.
pub fn sign_in(next: &str, failed: Option<&str>) -> Page {
    let body = html! {
        div.head { h1 { "Sign in" } }
        section.card aria-label="Sign in" {
            @if let Some(failed) = failed { p role="alert" { b { (Plain(failed)) } } }
            form."row"."grow" method="post" action="/sign-in" {
                input type="hidden" name="next" value=(clip(next, 2_000));
                label { "Token" input type="password" name="token" required maxlength="1000" autocomplete="current-password" autofocus; }
                button."btn"."primary" { "Sign in" }
            }
        }
    };
    Page::new("Sign in", Place::Elsewhere, body)
}

/// Theme, keys, session.
pub fn me(reader: &Reader, ends: Option<Timestamp>, now: Timestamp) -> Page {
    let scope = match (reader.admin, reader.operate) {
        (true, _) => "admin",
        (false, true) => "operate",
        (false, false) => "read",
    };
    let body = html! {
        div.head { h1 { (Plain(&clip(&reader.name, 80))) } p.muted { "scope " (scope) @if let Some(ends) = ends { ", signed in until " (number::time(ends, now)) } @else { "; no tokens are configured, so everybody on this machine is " code { "local" } } } }
        section.card aria-labelledby="h-v" {
            header { h2 id="h-v" { "This browser" } }
            form.row method="post" action="/me" {
                (reader.token())
                label { "Theme" select name="theme" { @for (value, label, is) in [("", "as the system", reader.theme.is_none()), ("light", "light", reader.theme == Some(Theme::Light)), ("dark", "dark", reader.theme == Some(Theme::Dark))] { option value=(value) selected[is] { (label) } } } }
                label { "Single keys" select name="keys" { option value="" selected[!reader.keys_off] { "on" } option value="off" selected[reader.keys_off] { "off" } } }
                button.btn { "Save" }
            }
        }
        @if ends.is_some() {
            section.card aria-label="Session" { form method="post" action="/sign-out" { (reader.token()) button.btn { "Sign out" } } }
        }
    };
    Page::new(clip(&reader.name, 80), Place::Elsewhere, body)
}

/// The sign-in page shows nothing of what is going on inside.
pub fn bare(now: Timestamp) -> Frame {
    Frame { now, ..Frame::default() }
}
