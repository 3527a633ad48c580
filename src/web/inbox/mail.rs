//! Reads a mail as far as the demo's inbox shows it: subject, addresses, text and HTML part.
//!
//! Bounded, and never wrong about safety: whatever it cannot read is shown as the raw text it is.

use base64::Engine as _;

/// How deep parts may be nested.
const DEPTH_MAX: usize = 4;

/// A mail as its reader sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mail {
    pub subject: String,
    pub from: String,
    pub to: String,
    /// Unfolded, in order.
    pub headers: Vec<(String, String)>,
    pub text: Option<String>,
    pub html: Option<String>,
}

/// Reads a whole mail.
pub fn parse(raw: &str) -> Mail {
    let (headers, body) = split(raw);
    let value = |name: &str| decoded_words(header(&headers, name).unwrap_or_default());
    let mut mail = Mail { subject: value("subject"), from: value("from"), to: value("to"), ..Mail::default() };
    read_part(&headers, body, 0, &mut mail);
    mail.headers = headers;
    mail
}

fn split(raw: &str) -> (Vec<(String, String)>, &str) {
    let (head, body) = match (raw.find("\r\n\r\n"), raw.find("\n\n")) {
        (Some(a), Some(b)) if b < a => (&raw[..b], &raw[b + 2..]),
        (Some(a), _) => (&raw[..a], &raw[a + 4..]),
        (None, Some(b)) => (&raw[..b], &raw[b + 2..]),
        (None, None) => (raw, ""),
    };
    let mut headers: Vec<(String, String)> = Vec::new();
    for line in head.lines().take(200) {
        match (line.starts_with([' ', '\t']), headers.last_mut()) {
            (true, Some((_, value))) => {
                value.push(' ');
                value.push_str(line.trim());
            }
            _ => {
                if let Some((name, value)) = line.split_once(':') {
                    headers.push((name.trim().to_owned(), value.trim().to_owned()));
                }
            }
        }
    }
    (headers, body)
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

fn read_part(headers: &[(String, String)], body: &str, depth: usize, mail: &mut Mail) {
    let kind = header(headers, "content-type").unwrap_or("text/plain");
    let lower = kind.to_ascii_lowercase();
    if lower.starts_with("multipart/") {
        let Some(boundary) = boundary(kind).filter(|_| depth < DEPTH_MAX) else { return };
        for part in body.split(&format!("--{boundary}")).skip(1).take(20) {
            if part.starts_with("--") {
                break;
            }
            let (headers, body) = split(part.trim_start_matches(['\r', '\n']));
            read_part(&headers, body, depth + 1, mail);
        }
        return;
    }
    let text = decode(body, header(headers, "content-transfer-encoding").unwrap_or_default()).replace("\r\n", "\n");
    if lower.starts_with("text/html") {
        mail.html.get_or_insert(text);
    } else if lower.starts_with("text/") {
        mail.text.get_or_insert(text);
    }
}

fn boundary(kind: &str) -> Option<&str> {
    let at = kind.to_ascii_lowercase().find("boundary=")? + "boundary=".len();
    let rest = &kind[at..];
    let value = match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next()?,
        None => rest.split([';', ' ']).next()?,
    };
    (!value.is_empty() && value.len() <= 200).then_some(value)
}

fn decode(body: &str, encoding: &str) -> String {
    match encoding.trim().to_ascii_lowercase().as_str() {
        "base64" => {
            let packed: String = body.chars().filter(|c| !c.is_whitespace()).collect();
            base64::engine::general_purpose::STANDARD
                .decode(packed)
                .map_or_else(|_| body.to_owned(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
        }
        "quoted-printable" => quoted_printable(body, false),
        _ => body.to_owned(),
    }
}

fn quoted_printable(text: &str, underscores: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        match bytes[i] {
            b'=' if bytes.get(i + 1) == Some(&b'\n') => i += 2,
            b'=' if bytes.get(i + 1) == Some(&b'\r') && bytes.get(i + 2) == Some(&b'\n') => i += 3,
            b'=' => match bytes.get(i + 1..i + 3).and_then(|two| hex::decode(two).ok()) {
                Some(byte) => {
                    out.extend(byte);
                    i += 3;
                }
                None => {
                    out.push(b'=');
                    i += 1;
                }
            },
            b'_' if underscores => {
                out.push(b' ');
                i += 1;
            }
            byte => {
                out.push(byte);
                i += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// `=?utf-8?b?…?=` and `=?utf-8?q?…?=` in header values; blanks between two such words go.
fn decoded_words(value: &str) -> String {
    let mut out = String::new();
    let mut rest = value;
    let mut after_word = false;
    while let Some(start) = rest.find("=?") {
        let word = &rest[start + 2..];
        let mut parts = word.splitn(3, '?');
        let (Some(_), Some(encoding), Some(tail)) = (parts.next(), parts.next(), parts.next()) else { break };
        let Some(end) = tail.find("?=") else { break };
        let before = &rest[..start];
        if !(after_word && before.trim().is_empty()) {
            out.push_str(before);
        }
        out.push_str(&match encoding {
            "b" | "B" => decode(&tail[..end], "base64"),
            _ => quoted_printable(&tail[..end], true),
        });
        rest = &tail[end + 2..];
        after_word = true;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_with_two_parts_is_read() {
        let raw = "From: burnwatch <a@example.com>\r\nTo: b@example.com\r\nSubject: =?utf-8?b?w6QgcGFnZQ==?=\r\n =?utf-8?q?_2?=\r\n\
                   Content-Type: multipart/alternative; boundary=\"xx\"\r\n\r\n--xx\r\nContent-Type: text/plain; charset=utf-8\r\n\
                   Content-Transfer-Encoding: quoted-printable\r\n\r\nburn 35=C3=97 and=\r\n more\r\n--xx\r\nContent-Type: text/html\r\n\
                   Content-Transfer-Encoding: base64\r\n\r\nPGI+eDwv\r\nYj4=\r\n--xx--\r\n";
        let mail = parse(raw);
        assert_eq!(mail.subject, "ä page 2");
        assert_eq!(mail.text.as_deref().map(str::trim), Some("burn 35× and more"));
        assert_eq!(mail.html.as_deref(), Some("<b>x</b>"));
        assert_eq!(mail.to, "b@example.com");
    }

    #[test]
    fn a_broken_mail_is_shown_as_it_is() {
        for raw in ["", "no header at all", "Content-Type: multipart/mixed\n\nx", "Subject: =?utf-8?b?###\n\nx", "Subject: =?x\n\n=\n=zz"] {
            parse(raw);
        }
        assert_eq!(parse("Subject: x\r\n\r\none\r\ntwo").text.as_deref(), Some("one\ntwo"));
        assert_eq!(parse("Subject: x\n\nplain =3D text").text.as_deref(), Some("plain =3D text"));
        let part = "--b\nContent-Type: multipart/mixed; boundary=b\n\n".repeat(50);
        let deep = format!("Content-Type: multipart/mixed; boundary=b\n\n{part}");
        parse(&deep);
    }
}
