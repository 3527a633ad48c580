//! Personal data and secrets are taken out of every text before it becomes a dimension value (P, R-18, R-19).
//!
//! What is looked for: e-mail addresses, tokens (JWT, bearer and API keys, `token=`-like pairs, long
//! random strings), card numbers (with a valid check digit) and phone numbers. A text without any
//! of the marks that these have is not searched at all.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex};

/// Longest dimension value, in bytes.
pub const VALUE_MAX: usize = 128;

/// Makes texts fit to be dimension values.
#[derive(Clone, Debug)]
pub struct Redactor {
    /// Whether the built-in patterns are looked for.
    on: bool,
    extra: Vec<Regex>,
}

impl Default for Redactor {
    fn default() -> Redactor {
        Redactor { on: true, extra: Vec::new() }
    }
}

impl Redactor {
    /// With the built-in patterns if `on`, and with further regular expressions whose matches are removed.
    pub fn new(on: bool, patterns: &[String]) -> Result<Redactor, regex::Error> {
        let extra = patterns.iter().map(|text| regex::RegexBuilder::new(text).size_limit(1 << 20).build());
        Ok(Redactor { on, extra: extra.collect::<Result<_, _>>()? })
    }

    /// A text that is fit to be a dimension value: trimmed, one line, no control characters, at most
    /// [`VALUE_MAX`] bytes, nothing personal. The second part says whether something was taken out.
    pub fn clean<'a>(&self, text: impl Into<Cow<'a, str>>) -> (Cow<'a, str>, bool) {
        let mut text = text.into();
        if text.chars().any(is_unsafe) {
            text = Cow::Owned(text.chars().map(|c| if is_unsafe(c) { ' ' } else { c }).collect());
        }
        // Long before the last cut, so that half a secret is not kept; bounded, so that a huge text costs little.
        text = cut(text, 8 * VALUE_MAX);
        let mut found = false;
        if self.on
            && let Some(redacted) = redact(&text)
        {
            (text, found) = (Cow::Owned(redacted), true);
        }
        for pattern in &self.extra {
            if pattern.is_match(&text) {
                (text, found) = (Cow::Owned(pattern.replace_all(&text, "[redacted]").into_owned()), true);
            }
        }
        (cut(trim(text), VALUE_MAX), found)
    }
}

/// Control characters, line separators, and marks that change the direction of writing.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn trim(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
        Cow::Owned(owned) if owned.trim().len() == owned.len() => Cow::Owned(owned),
        Cow::Owned(owned) => Cow::Owned(owned.trim().to_owned()),
    }
}

/// Cuts to at most `max` bytes, at the border of a character.
pub fn cut(text: Cow<'_, str>, max: usize) -> Cow<'_, str> {
    if text.len() <= max {
        return text;
    }
    let end = text.floor_char_boundary(max);
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[..end]),
        Cow::Owned(mut owned) => {
            owned.truncate(end);
            Cow::Owned(owned)
        }
    }
}

/// The text with what is personal or secret replaced; `None` if there is nothing.
pub fn redact(text: &str) -> Option<String> {
    let marks = marks(text);
    let mut out = Cow::Borrowed(text);
    if marks.at {
        replace(&mut out, &EMAIL, |_| Some("[email]".to_owned()));
    }
    if marks.pair || marks.long {
        replace(&mut out, &PAIR, |found| Some(format!("{}[secret]", &found[1])));
    }
    if marks.long {
        replace(&mut out, &TOKEN, |_| Some("[token]".to_owned()));
        replace(&mut out, &LONG, |found| looks_random(&found[0]).then(|| "[token]".to_owned()));
    }
    if marks.digits >= 7 {
        replace(&mut out, &CARD, |found| is_card(&found[0]).then(|| "[card]".to_owned()));
        replace(&mut out, &PHONE, |_| Some("[phone]".to_owned()));
    }
    match out {
        Cow::Borrowed(_) => None,
        Cow::Owned(out) => Some(out),
    }
}

/// What a text has that anything personal would have too.
struct Marks {
    at: bool,
    pair: bool,
    digits: usize,
    long: bool,
}

fn marks(text: &str) -> Marks {
    let mut marks = Marks { at: false, pair: false, digits: 0, long: text.len() >= 16 };
    for byte in text.bytes() {
        match byte {
            b'@' | b'%' => marks.at = true,
            b'=' | b':' => marks.pair = true,
            b'0'..=b'9' => marks.digits += 1,
            _ => {}
        }
    }
    marks
}

fn replace(text: &mut Cow<'_, str>, pattern: &Regex, with: impl Fn(&Captures<'_>) -> Option<String>) {
    if !pattern.is_match(text) {
        return;
    }
    let mut changed = false;
    let replaced = pattern.replace_all(text, |found: &Captures<'_>| match with(found) {
        Some(replacement) => {
            changed = true;
            replacement
        }
        None => found[0].to_owned(),
    });
    if changed {
        let replaced = replaced.into_owned();
        *text = Cow::Owned(replaced);
    }
}

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a fixed pattern")
}

static EMAIL: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?i)[a-z0-9._+'-]+(?:@|%40)[a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z]{2,}"));
static PAIR: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?i)\b((?:access[_-]?|refresh[_-]?|id[_-]?|auth[_-]?|api[_-]?|client[_-]?)?(?:token|key|secret|password|passwd|pwd|session(?:id)?|sid|signature|authorization)\s*[=:]\s*(?:bearer\s+|basic\s+)?)[^\s&;,\[]+",
    )
});
static TOKEN: LazyLock<Regex> = LazyLock::new(|| {
    pattern(concat!(
        r"eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){1,4}",
        r"|(?i:bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}",
        r"|\b(?:sk|pk|rk)_(?:live|test)_[A-Za-z0-9]{8,}",
        r"|\bgh[pousr]_[A-Za-z0-9]{16,}|\bgithub_pat_[A-Za-z0-9_]{16,}|\bglpat-[A-Za-z0-9_-]{12,}",
        r"|\bxox[abeprs]-[A-Za-z0-9-]{8,}|\bAKIA[0-9A-Z]{12,}|\bAIza[A-Za-z0-9_-]{20,}",
        r"|\bwhsec_[A-Za-z0-9+/=]{8,}|\bsk-[A-Za-z0-9_-]{16,}",
    ))
});
static LONG: LazyLock<Regex> = LazyLock::new(|| pattern(r"[A-Za-z0-9_+-]{28,}={0,2}"));
static CARD: LazyLock<Regex> = LazyLock::new(|| pattern(r"\b[0-9](?:[ -]?[0-9]){12,18}\b"));
static PHONE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"(?:\+|\b00)[1-9][0-9]{0,2}(?:[ ./()-]{0,2}[0-9]){6,12}\b|\(\d{3}\) ?\d{3}[ -]\d{4}\b|\b\d{3}[-. ]\d{3}[-. ]\d{4}\b")
});

/// Whether a long run of characters is a key rather than a name: many changes between letters and
/// digits or cases. Git's hexadecimal commit ids, which releases are named by, are no secret.
fn looks_random(text: &str) -> bool {
    let hex = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if hex && matches!(text.len(), 40 | 64) {
        return false;
    }
    let class = |b: u8| match b {
        b'0'..=b'9' => 0,
        b'a'..=b'z' => 1,
        b'A'..=b'Z' => 2,
        _ => 3,
    };
    let bytes = text.as_bytes();
    let changes = bytes.windows(2).filter(|pair| class(pair[0]) != class(pair[1]) && class(pair[0]) != 3 && class(pair[1]) != 3).count();
    text.bytes().any(|b| b.is_ascii_digit()) && changes * 5 >= text.len()
}

/// Whether this is a card number: a check digit that fits and a beginning that issuers use.
fn is_card(text: &str) -> bool {
    let plain: String = text.chars().filter(char::is_ascii_digit).collect();
    let issued = match plain.as_bytes()[0] {
        b'3'..=b'6' => true,
        b'2' => plain.len() == 16 && ("2221".."2721").contains(&&plain[..4]),
        _ => false,
    };
    issued && passes_luhn(&plain)
}

fn passes_luhn(text: &str) -> bool {
    let digits = text.bytes().rev().filter(u8::is_ascii_digit).map(|b| u32::from(b - b'0'));
    let sum: u32 = digits
        .enumerate()
        .map(|(at, d)| {
            if at % 2 == 0 {
                d
            } else if d > 4 {
                2 * d - 9
            } else {
                2 * d
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn personal_data_and_secrets_are_replaced() {
        let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl";
        for (text, expected) in [
            ("mail to ada.lovelace+x@example.co.uk now", "mail to [email] now"),
            ("/u/ada%40example.com/edit", "/u/[email]/edit"),
            (&format!("auth {jwt} failed"), "auth [token] failed"),
            ("Authorization: Bearer abc.def.ghi-123", "Authorization: Bearer [secret]"),
            ("reset?token=s3cr3t&x=1", "reset?token=[secret]&x=1"),
            ("card 4111 1111 1111 1111 refused", "card [card] refused"),
            ("4242-4242-4242-4242", "[card]"),
            ("call +49 170 1234567 please", "call [phone] please"),
            ("(415) 555-2671", "[phone]"),
            ("key sk_live_4eC39HqLyjWDarjtT1zdp7dc", "key [token]"),
            ("a8Fk29xLq0PzR7vT1mNc5YbW3sKd", "[token]"),
            ("hunter password=tr0ub4dor&3", "hunter password=[secret]&3"),
        ] {
            let (got, found) = Redactor::default().clean(text);
            assert_eq!((got.as_ref(), found), (expected, true), "{text}");
        }
    }

    #[test]
    fn ordinary_values_stay_as_they_are() {
        for text in [
            "/checkout",
            "/product/:id/reviews",
            "2.3.1",
            "shop@2.3.1",
            "2026.11.22-1234",
            "production",
            "de",
            "Chrome",
            "new_checkout=on",
            "3f786850e387550fdab836ed7e6dc881de23001b",
            "TypeError",
            "api.example.com:8443",
            "a-very-long-but-ordinary-name-of-a-landing-page",
            "20261122030000123",
            "build-20261122.1",
        ] {
            assert_eq!(Redactor::default().clean(text), (Cow::Borrowed(text), false));
        }
    }

    #[test]
    fn patterns_of_ones_own_are_removed_too_and_the_built_in_ones_can_be_off() {
        let own = Redactor::new(false, &[r"KD-\d+".to_owned()]).unwrap();
        assert_eq!(own.clean("customer KD-4711 a@example.com").0, "customer [redacted] a@example.com");
        assert!(Redactor::new(true, &["(".to_owned()]).is_err());
    }

    #[test]
    fn values_are_one_line_and_bounded() {
        let clean = |text: &str| Redactor::default().clean(text.to_owned());
        assert_eq!(clean("  a\r\nb\u{1b}[31m\u{202e}c\0 ").0, "a  b [31m c");
        assert_eq!(clean(&"é".repeat(500)).0.len(), VALUE_MAX);
        let long = format!("{} ada@example.com", "x ".repeat(40));
        assert!(!clean(&long).0.contains("ada@"));
    }
}
