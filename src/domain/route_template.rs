//! Route templates: `/product/157?ref=x` becomes `/product/:id`. Raw URLs are never kept.

use std::borrow::Cow;

/// What stands for a part that names one thing among many.
const ID: &str = ":id";
/// Longest part of a path that is kept, and how many of them.
const SEGMENT_MAX: usize = 48;
const SEGMENTS_MAX: usize = 10;

/// Templates that are configured, tried in order before the general rule.
#[derive(Clone, Debug, Default)]
pub struct Templates(Vec<Template>);

#[derive(Clone, Debug)]
struct Template {
    text: String,
    segments: Vec<Segment>,
    /// Ends in `*`: anything may follow.
    open: bool,
}

#[derive(Clone, Debug)]
enum Segment {
    Exact(String),
    /// `:name`
    Any,
}

impl Templates {
    /// Reads templates such as `/product/:sku/reviews` and `/docs/*`.
    pub fn new(texts: &[String]) -> Templates {
        let read = |text: &String| {
            let (body, open) = text.strip_suffix("/*").map_or((text.as_str(), false), |body| (body, true));
            let segment = |s: &str| if s.starts_with(':') { Segment::Any } else { Segment::Exact(s.to_owned()) };
            Template { text: text.clone(), segments: segments(body).map(segment).collect(), open }
        };
        Templates(texts.iter().map(read).collect())
    }

    /// The template of a URL or path.
    pub fn of<'a>(&self, url: &'a str) -> Cow<'a, str> {
        let path = path_of(url);
        match self.0.iter().find(|template| template.accepts(path)) {
            Some(template) => Cow::Owned(template.text.clone()),
            None => general(path),
        }
    }
}

impl Template {
    fn accepts(&self, path: &str) -> bool {
        let mut given = segments(path);
        for segment in &self.segments {
            match (segment, given.next()) {
                (_, None) => return false,
                (Segment::Exact(text), Some(other)) if text != other => return false,
                _ => {}
            }
        }
        self.open || given.next().is_none()
    }
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

/// The path of a URL: no scheme, user, host, query or fragment.
pub fn path_of(url: &str) -> &str {
    let url = url.trim();
    let url = &url[..url.find(['?', '#']).unwrap_or(url.len())];
    if let Some(at) = url.find("://").filter(|at| is_scheme(&url[..*at])) {
        let rest = &url[at + 3..];
        return rest.find('/').map_or("/", |slash| &rest[slash..]);
    }
    if let Some(rest) = url.strip_prefix("//") {
        return rest.find('/').map_or("/", |slash| &rest[slash..]);
    }
    match url.find(':') {
        // `about:blank`, `data:text/html,…`, `javascript:…`: only what it is.
        Some(at) if is_scheme(&url[..at]) && at > 1 => &url[..=at],
        _ => url,
    }
}

/// The host of a URL with its port, lower case not forced; `None` for a path.
pub fn host_of(url: &str) -> Option<&str> {
    let at = url.find("//")?;
    if at != 0 && !(url[..at].ends_with(':') && is_scheme(&url[..at - 1])) {
        return None;
    }
    let rest = &url[at + 2..];
    let host = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    let host = host.rfind('@').map_or(host, |user| &host[user + 1..]);
    (!host.is_empty()).then_some(host)
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

/// The template of a path by the general rule.
fn general(path: &str) -> Cow<'_, str> {
    let plain = |s: &str| s.len() <= SEGMENT_MAX && !names_one_thing(s) && !s.contains(';');
    let tidy = path == "/" || (!path.ends_with('/') && !path.contains("//"));
    if tidy && segments(path).count() <= SEGMENTS_MAX && segments(path).all(plain) {
        return Cow::Borrowed(path);
    }
    let mut out = String::with_capacity(path.len().min(256));
    for (at, segment) in segments(path).enumerate() {
        if at > 0 || path.starts_with('/') {
            out.push('/');
        }
        if at == SEGMENTS_MAX {
            out.push('*');
            break;
        }
        // `;jsessionid=…` and its like belong to one visit.
        let segment = segment.split(';').next().unwrap_or(segment);
        if names_one_thing(segment) {
            out.push_str(ID);
        } else {
            out.push_str(&segment[..segment.floor_char_boundary(SEGMENT_MAX)]);
        }
    }
    if out.is_empty() && path.starts_with('/') {
        out.push('/');
    }
    Cow::Owned(out)
}

/// Whether a part of a path names one thing among many: a number, a UUID, a hash, an address, a random key.
fn names_one_thing(segment: &str) -> bool {
    let bytes = segment.as_bytes();
    let (mut digits, mut run, mut longest, mut hex, mut upper, mut lower) = (0, 0, 0, 0, false, false);
    for byte in bytes {
        if byte.is_ascii_digit() {
            digits += 1;
            run += 1;
            longest = run.max(longest);
        } else {
            run = 0;
        }
        hex += usize::from(byte.is_ascii_hexdigit());
        upper |= byte.is_ascii_uppercase();
        lower |= byte.is_ascii_lowercase();
        if *byte == b'@' {
            return true;
        }
    }
    if segment.contains("%40") {
        return true;
    }
    if digits == 0 {
        return false;
    }
    let letters_too = bytes.len() > digits;
    !letters_too
        || longest >= 5
        || (bytes.len() >= 8 && hex == bytes.len())
        || (bytes.len() == 36 && hex == 32 && bytes[8] == b'-')
        || (digits + bytes.iter().filter(|b| b"-._,+".contains(b)).count() == bytes.len())
        || (bytes.len() >= 16 && digits >= 3 && !segment.contains('-'))
        || (bytes.len() >= 10 && digits >= 2 && upper && lower && !segment.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_one_thing_becomes_id() {
        let none = Templates::default();
        for (url, route) in [
            ("/", "/"),
            ("", ""),
            ("/checkout", "/checkout"),
            ("/checkout/", "/checkout"),
            ("/product/157", "/product/:id"),
            ("/product/157?token=abc#x", "/product/:id"),
            ("https://ada:pw@shop.example.com:8443/a/b?c", "/a/b"),
            ("https://shop.example.com", "/"),
            ("//cdn.example.com/x.js", "/x.js"),
            ("/u/3f2504e0-4f89-11d3-9a0c-0305e82c3301/edit", "/u/:id/edit"),
            ("/commit/3f786850e387550fdab836ed7e6dc881de23001b", "/commit/:id"),
            ("/order-12345/pay", "/:id/pay"),
            ("/2026-11-22/news", "/:id/news"),
            ("/user/ada@example.com", "/user/:id"),
            ("/user/ada%40example.com", "/user/:id"),
            ("/s/dQw4w9WgXcQ", "/s/:id"),
            ("/api/v2/items", "/api/v2/items"),
            ("/iphone-15-pro", "/iphone-15-pro"),
            ("/cart;jsessionid=1A2B3C", "/cart"),
            ("//", "/"),
            ("/a//b", "/a/b"),
            ("about:blank", "about:"),
            ("data:text/html,<script>", "data:"),
            ("CheckoutScreen", "CheckoutScreen"),
        ] {
            assert_eq!(none.of(url), route, "{url}");
        }
    }

    #[test]
    fn long_paths_are_cut() {
        let none = Templates::default();
        assert_eq!(none.of(&format!("/{}", "x".repeat(500))).len(), 1 + SEGMENT_MAX);
        assert_eq!(none.of("/a/b/c/d/e/f/g/h/i/j/k/l"), "/a/b/c/d/e/f/g/h/i/j/*");
        assert_eq!(none.of(&format!("/{}", "é".repeat(500))).chars().count(), 1 + SEGMENT_MAX / 2);
    }

    #[test]
    fn configured_templates_come_first() {
        let templates = Templates::new(&["/product/:sku/reviews".into(), "/docs/*".into(), "/user/me".into()]);
        assert_eq!(templates.of("/product/red-shoe/reviews?x"), "/product/:sku/reviews");
        assert_eq!(templates.of("/docs/a/b/c"), "/docs/*");
        assert_eq!(templates.of("/user/me"), "/user/me");
        assert_eq!(templates.of("/user/77"), "/user/:id");
        assert_eq!(templates.of("/product/red-shoe"), "/product/red-shoe");
    }

    #[test]
    fn hosts_come_without_user_and_path() {
        assert_eq!(host_of("https://ada:pw@shop.example.com:8443/a"), Some("shop.example.com:8443"));
        assert_eq!(host_of("//cdn.example.com/x"), Some("cdn.example.com"));
        assert_eq!(host_of("/a//b"), None);
        assert_eq!(host_of("mailto:x"), None);
    }
}
