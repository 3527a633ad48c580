//! Fingerprints: JavaScript errors and crashes with the same cause get the same one, whatever numbers,
//! ids, hosts and line numbers stand in them.

use sha2::{Digest, Sha256};

/// How much of a message and of a frame is looked at.
const PART_MAX: usize = 512;

/// Sixteen hexadecimal digits from type, message and top frame.
pub fn fingerprint(kind: &str, message: &str, stack: &str) -> String {
    let message = message.trim();
    let message = message.strip_prefix("Uncaught ").unwrap_or(message);
    // Browsers differ in whether the message begins with the type.
    let message = message.strip_prefix(kind).and_then(|rest| rest.strip_prefix(':')).unwrap_or(message);
    let mut hasher = Sha256::new();
    for part in [kind, message.trim(), top_frame(stack)] {
        hasher.update(normalise(part));
        hasher.update([0]);
    }
    hex::encode(&hasher.finalize()[..8])
}

/// The first line of a stack that names a place in code: `at pay (https://…/app.js:1:2)` or `pay@https://…`.
fn top_frame(stack: &str) -> &str {
    let frame = |line: &&str| line.starts_with("at ") || (line.contains('@') && line.contains(':'));
    stack.lines().take(50).map(str::trim).find(frame).unwrap_or("")
}

/// The text without what changes from one occurrence to the next: words with digits become `0`,
/// addresses lose all but their last part.
fn normalise(text: &str) -> String {
    let text = &text[..text.floor_char_boundary(PART_MAX)];
    let mut out = String::with_capacity(text.len());
    for word in text.split_inclusive(|c: char| c.is_whitespace() || "()[]{}<>,;\"'`@".contains(c)) {
        let word = match word.find("://") {
            Some(_) => {
                let path = &word[..word.find(['?', '#']).unwrap_or(word.len())];
                path.rsplit('/').next().unwrap_or("")
            }
            None => word,
        };
        let mut in_number = false;
        for piece in word.split_inclusive([':', '/', '.', '-', '_', '=']) {
            let hash = piece.len() >= 8 && piece.bytes().filter(u8::is_ascii_hexdigit).count() + 1 >= piece.len() && has_digit(piece);
            if hash {
                out.push('0');
                continue;
            }
            for c in piece.chars() {
                if c.is_ascii_digit() {
                    if !in_number {
                        out.push('0');
                    }
                    in_number = true;
                } else {
                    in_number = false;
                    out.push(c);
                }
            }
        }
    }
    out
}

fn has_digit(text: &str) -> bool {
    text.bytes().any(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_error_elsewhere_has_the_same_fingerprint() {
        let stack = |n: u32, host: &str| format!("TypeError: x\n    at pay (https://{host}/assets/app.js?v={n}:1:{n})\n    at other (y)");
        let a = fingerprint("TypeError", "Uncaught TypeError: item 157 exploded", &stack(1, "a.example.com"));
        let b = fingerprint("TypeError", "item 9 exploded", &stack(22, "b.example.com"));
        assert_eq!(a, b);
        assert_eq!(a.len(), 16);
    }

    #[test]
    fn other_types_messages_and_places_differ() {
        let base = fingerprint("TypeError", "x is undefined", "at pay (app.js:1:1)");
        assert_ne!(base, fingerprint("RangeError", "x is undefined", "at pay (app.js:1:1)"));
        assert_ne!(base, fingerprint("TypeError", "y is undefined", "at pay (app.js:1:1)"));
        assert_ne!(base, fingerprint("TypeError", "x is undefined", "at refund (app.js:1:1)"));
    }

    #[test]
    fn hostile_texts_are_bounded() {
        for text in ["é".repeat(100_000), "\n".repeat(100_000), "@:".repeat(50_000), String::new()] {
            assert_eq!(fingerprint(&text, &text, &text).len(), 16);
        }
    }
}
