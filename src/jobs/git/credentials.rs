//! Credentials of a remote's address: they go by the environment of a call, never by its arguments.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A remote's address without its credentials, and the header that carries them where HTTP does.
pub(super) fn split(remote: &str) -> (String, Option<String>) {
    let Ok(mut url) = url::Url::parse(remote) else { return (remote.to_owned(), None) };
    if !matches!(url.scheme(), "http" | "https") || (url.username().is_empty() && url.password().is_none()) {
        return (remote.to_owned(), None);
    }
    let decoded = |text: &str| percent_decoded(text);
    let pair = [decoded(url.username()), b":".to_vec(), decoded(url.password().unwrap_or_default())].concat();
    let cleared = url.set_username("").and_then(|()| url.set_password(None));
    cleared.expect("an http address may be without credentials");
    (url.to_string(), Some(format!("Authorization: Basic {}", STANDARD.encode(pair))))
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok())).flatten();
        decoded.push(hex.unwrap_or(bytes[at]));
        at += if hex.is_some() { 3 } else { 1 };
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_leave_the_address_and_what_git_says() {
        let (url, header) = split("https://x:p%40ss@git.example.com/r.git");
        assert_eq!(url, "https://git.example.com/r.git");
        assert_eq!(header.unwrap(), format!("Authorization: Basic {}", STANDARD.encode("x:p@ss")));
        assert_eq!(split("git@example.com:r.git"), ("git@example.com:r.git".into(), None));
    }
}
