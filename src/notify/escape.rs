//! Makes hostile text harmless for the format it goes into.
//!
//! Titles, labels and dimension values may come from a beacon that anyone can send.

/// Shows that a text was cut.
pub const MARK: &str = "…";

/// One line without characters that control a terminal, a mail header or the direction of text; at most `max` characters.
pub fn clean(text: &str, max: usize) -> String {
    let mut line = String::with_capacity(text.len().min(max * 4));
    let mut count = 0;
    let mut gap = false;
    for c in text.chars() {
        if c.is_whitespace() || (c.is_control() && !line.is_empty()) {
            gap = !line.is_empty();
            continue;
        }
        if c.is_control() || is_invisible(c) {
            continue;
        }
        if gap {
            line.push(' ');
            count += 1;
            gap = false;
        }
        line.push(c);
        count += 1;
        if count > max {
            return cut(&line, max);
        }
    }
    line
}

/// Characters that reorder or hide text, and so can make one thing look like another.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// At most `max` characters, the last one being [`MARK`] if something was cut.
pub fn cut(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        None => text.to_owned(),
        Some(_) => {
            let kept: String = text.chars().take(max.saturating_sub(1)).collect();
            kept + MARK
        }
    }
}

/// At most `max` bytes, ending in [`MARK`] if something was cut.
pub fn cut_bytes(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let mut end = max.saturating_sub(MARK.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{MARK}", &text[..end])
}

/// For text and attribute values in HTML.
pub fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// For Slack's text: without `<` nothing is a mention, a channel call or a link.
pub fn slack(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A code span of Slack's mrkdwn.
pub fn slack_code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{}`", slack(&text.replace('`', "'"))) }
}

/// A code span of Markdown: in it there are no mentions, links, references or HTML.
pub fn markdown_code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{}`", text.replace('`', "'")) }
}

/// For ServiceNow, which shows what stands between `[code]` and `[/code]` as HTML: the brackets become round.
pub fn servicenow(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let mut out = text.to_owned().into_bytes();
    for tag in ["[code]", "[/code]"] {
        for (at, _) in lower.match_indices(tag) {
            out[at] = b'(';
            out[at + tag.len() - 1] = b')';
        }
    }
    String::from_utf8(out).expect("only brackets were replaced")
}

/// Plain words for a place that shows Markdown's source as it is but still looks for mentions (a ticket's title).
pub fn no_mentions(text: &str) -> String {
    text.replace('@', "@\u{200b}")
}

/// A link that may be shown: http and https only, cleaned as the URL standard writes it.
pub fn link(text: &str) -> Option<String> {
    let url = url::Url::parse(text).ok()?;
    let fine = matches!(url.scheme(), "http" | "https") && url.has_host() && url.username().is_empty() && url.password().is_none();
    let text = String::from(url);
    // A cut link leads nowhere; parentheses and quotes would end a link in Markdown or an attribute.
    (fine && text.len() <= 2000).then(|| text.replace('(', "%28").replace(')', "%29").replace('\'', "%27").replace('|', "%7C"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r12_control_characters_and_direction_marks_are_removed() {
        assert_eq!(clean("a\r\nBcc: b\x1b[31m\u{202e}c\u{200b}d", 100), "a Bcc: b [31mcd");
        assert_eq!(clean("  a \t b  ", 100), "a b");
        assert_eq!(clean("\0\x07a\0", 100), "a");
        assert_eq!(clean("", 5), "");
    }

    #[test]
    fn a_cut_is_visible_and_within_the_limit() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdefg", 6), "abcde…");
        assert_eq!(clean("ééééé", 3), "éé…");
        assert_eq!(cut_bytes("éééé", 7), "éé…");
        assert!(cut_bytes("éééé", 6).len() <= 6);
    }

    #[test]
    fn r11_mentions_links_and_markup_are_inert() {
        assert_eq!(slack("<!channel> & <@U1>"), "&lt;!channel&gt; &amp; &lt;@U1&gt;");
        assert_eq!(slack_code("a`<!here>`"), "`a'&lt;!here&gt;'`");
        assert_eq!(markdown_code("`@octocat` [x](javascript:1)"), "`'@octocat' [x](javascript:1)`");
        assert_eq!(html("<img src=x onerror='a(\"b\")'>"), "&lt;img src=x onerror=&#39;a(&quot;b&quot;)&#39;&gt;");
        assert!(!no_mentions("@octocat").contains("@o"));
    }

    #[test]
    fn r11_servicenow_reads_no_html() {
        assert_eq!(servicenow("ä [code]<b>x</b>[/CODE] [cod]"), "ä (code)<b>x</b>(/CODE) [cod]");
        assert_eq!(servicenow("[[code]code]"), "[(code)code]");
    }

    #[test]
    fn r10_only_web_links_are_shown() {
        assert_eq!(link("https://runbooks.example.com/a?b=c").as_deref(), Some("https://runbooks.example.com/a?b=c"));
        for bad in ["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "//x", "x", "https://user:pw@example.com/", ""] {
            assert_eq!(link(bad), None, "{bad}");
        }
        assert_eq!(link("https://a.example/)[x](javascript:1)").unwrap().find([')', '(']), None);
        assert_eq!(link("https://a.example/\"><script>").unwrap().find(['"', '<', '>']), None);
    }
}
