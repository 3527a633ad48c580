//! Text from elsewhere, made harmless: labels, notes, titles, error messages, user agents.
//!
//! `maud` escapes markup; this adds what markup escaping does not cover: controls that reorder or
//! hide text, endless length, and links with other schemes than http and https.

use maud::{Markup, Render, html};

/// Longest text that a page shows in one place.
const CHARS_MAX: usize = 2_000;

/// Shows hostile text as text; controls and bidi marks become visible code points.
pub struct Plain<'a>(pub &'a str);

impl Render for Plain<'_> {
    fn render_to(&self, buffer: &mut String) {
        plain(self.0).render_to(buffer);
    }
}

/// The same as a string, for attributes and for titles.
pub fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for (i, (at, c)) in text.char_indices().enumerate() {
        if i == CHARS_MAX {
            shown.push('…');
            break;
        }
        match c {
            '\n' => shown.push('\n'),
            '\r' if text[at + 1..].starts_with('\n') => {}
            '\t' => shown.push(' '),
            c if hides(c) => shown.push_str(&format!("⟨U+{:04X}⟩", c as u32)),
            c => shown.push(c),
        }
    }
    shown
}

/// At most `max` characters, with an ellipsis in place of the rest.
pub fn clip(text: &str, max: usize) -> String {
    let text = plain(text);
    if text.chars().count() <= max {
        return text;
    }
    text.chars().take(max.saturating_sub(1)).chain(['…']).collect()
}

/// Characters that are not seen or change the order of what is.
fn hides(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The address if a browser may follow it: http or https, nothing else.
pub fn safe_url(address: &str) -> Option<String> {
    let url = url::Url::parse(address).ok()?;
    (matches!(url.scheme(), "http" | "https") && address.len() <= 2_000).then(|| url.to_string())
}

/// A link out of the product, or its text alone when the address is not one to follow.
pub fn link(address: &str, text: &str) -> Markup {
    match safe_url(address) {
        Some(url) => html! { a href=(url) rel="noopener noreferrer" { (Plain(text)) } },
        None => html! { span { (Plain(text)) } },
    }
}

/// One part of a path inside the product.
pub fn segment(text: &str) -> String {
    percent(text)
}

/// Text in which names of settings stand between backticks, as in documents.
pub fn coded(text: &str) -> Markup {
    html! { @for (i, part) in text.split('`').enumerate() { @if i % 2 == 1 { code { (Plain(part)) } } @else { (Plain(part)) } } }
}

/// Query pairs of a link inside the product, with the leading `?`; empty values are left out.
pub fn query(pairs: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in pairs.iter().filter(|(_, value)| !value.is_empty()) {
        text.push(if text.is_empty() { '?' } else { '&' });
        text.push_str(&percent(name));
        text.push('=');
        text.push_str(&percent(value));
    }
    text
}

fn percent(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    // A part that is `.` or `..` would be folded away by the browser.
    if out == "." || out == ".." { out.replace('.', "%2E") } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_and_direction_marks_appear_as_text() {
        let text = html! { (Plain("<script>\u{202e}\"><img onerror=1>\u{0}")) }.into_string();
        assert_eq!(text, "&lt;script&gt;⟨U+202E⟩&quot;&gt;&lt;img onerror=1&gt;⟨U+0000⟩");
    }

    #[test]
    fn only_web_addresses_become_links() {
        assert!(link("https://runbooks.example.com/a b", "x").into_string().starts_with("<a href=\"https://runbooks.example.com/a%20b\""));
        for bad in
            ["javascript:alert(1)", "JaVaScRiPt:alert(1)", "data:text/html,x", "//x.example", "/relative", "ftp://x", " javascript:x"]
        {
            assert_eq!(link(bad, "x").into_string(), "<span>x</span>", "{bad}");
        }
    }

    #[test]
    fn names_are_encoded_in_paths_and_queries() {
        assert_eq!(segment("a/b?c=%\"é"), "a%2Fb%3Fc%3D%25%22%C3%A9");
        assert_eq!(segment(".."), "%2E%2E");
        assert_eq!(query(&[("q", "a b&c"), ("empty", "")]), "?q=a%20b%26c");
        assert_eq!(clip("abcdef", 4), "abc…");
    }
}
