//! What keeps a block from being parsed, in the words of a rule author, and how to read on: a slip that leaves no doubt about
//! what was meant is mended, so that whatever else is wrong in the same block is said in the same go.
//!
//! A mended line has everything else where it was, so that places stay right.

use rhai::{LexError, ParseError, ParseErrorType, Position};

use super::code::{Code, Spot};
use super::problem::clip;
use super::value::meant_by;

/// One slip.
#[derive(Debug)]
pub(super) struct Slip {
    pub(super) at: Position,
    pub(super) message: String,
    /// Lines by number (from 0) as they would be without it.
    pub(super) mended: Vec<(usize, String)>,
}

/// What a parser error comes from. `block` are the lines, half-open, that it stands in.
pub(super) fn slip(error: &ParseError, at: Position, lines: &[String], block: (usize, usize)) -> Slip {
    let spot = (at.line().unwrap_or(1) - 1, at.position().unwrap_or(1).saturating_sub(1));
    let code = Code::new(lines, block, spot.0);
    let found = in_a_text(&error.0, &code, spot)
        .or_else(|| in_a_number(&code, spot))
        .or_else(|| of_another_language(&error.0, &code, spot))
        // What is noticed where the next block begins is mostly a bracket of this one.
        .or_else(|| if spot.0 >= block.1 { bracket(&code) } else { None })
        .or_else(|| in_a_key(&error.0, &code, spot))
        .or_else(|| separator(&error.0, &code, spot))
        .or_else(|| bracket(&code));
    let Some(Found { spot, message, mended }) = found else {
        return Slip { at, message: plainly(error), mended: Vec::new() };
    };
    let number = |n: usize| u16::try_from(n + 1).unwrap_or(u16::MAX);
    Slip { at: Position::new(number(spot.0), number(spot.1)), message, mended }
}

/// A slip by its spot.
struct Found {
    spot: Spot,
    message: String,
    mended: Vec<(usize, String)>,
}

fn found(spot: Spot, message: impl Into<String>, mended: impl IntoIterator<Item = (usize, String)>) -> Option<Found> {
    Some(Found { spot, message: message.into(), mended: mended.into_iter().collect() })
}

/// Quotes of the wrong kind, one that is missing, and backslashes.
fn in_a_text(error: &ParseErrorType, code: &Code<'_>, spot: Spot) -> Option<Found> {
    let ParseErrorType::BadInput(error) = error else { return None };
    match error {
        LexError::MalformedChar(_) => {
            let quotes: Vec<usize> = code.find(spot.0, '\'').into_iter().filter(|at| *at >= spot.1).take(2).collect();
            let [open, close] = quotes[..] else { return None };
            let text = clip(&code.between((spot.0, open + 1), close));
            let mended = code.with(spot.0, &[(open, '"'), (close, '"')]);
            found((spot.0, open), format!("a text stands in double quotes: \"{text}\""), [mended])
        }
        LexError::UnterminatedString => {
            let mended = code.tail(spot.0).filter(|tail| *tail > spot.1 + 1).and_then(|tail| code.insert((spot.0, tail), "\""));
            found(spot, "the text that begins here has no closing `\"` on its line", mended)
        }
        LexError::UnexpectedInput(text) if text.chars().all(|c| "“”„‟‘’«»".contains(c)) => {
            let quotes: Vec<(usize, char)> =
                ['“', '”', '„', '‟', '«', '»'].into_iter().flat_map(|quote| code.find(spot.0, quote)).map(|at| (at, '"')).collect();
            found(spot, format!("texts stand in straight double quotes, \", not in {text}"), [code.with(spot.0, &quotes)])
        }
        LexError::MalformedEscapeSequence(text) => {
            let after = text.trim_start_matches('\\');
            let at = code.find_text(spot.0, text).unwrap_or(spot.1);
            let dots: Vec<(usize, char)> = (at..at + text.chars().count()).map(|at| (at, '.')).collect();
            let message = format!("in a text a backslash is written twice: `\\\\{after}`, or the text stands in backticks");
            found((spot.0, at), message, [code.with(spot.0, &dots)])
        }
        _ => None,
    }
}

/// Units, per cent signs and decimal commas behind numbers.
fn in_a_number(code: &Code<'_>, spot: Spot) -> Option<Found> {
    let (line, at) = spot;
    let digit = |at: Option<usize>| at.and_then(|at| code.at((line, at))).is_some_and(|c| c.is_ascii_digit());
    let before = |n: usize| at.checked_sub(n);
    if code.at(spot).is_some_and(|c| c.is_ascii_digit()) && before(1).is_some_and(|at| code.at((line, at)) == Some(',')) && digit(before(2))
    {
        let number = code.number_around(line, at - 2);
        let more: String = code.word((line, at));
        let message = format!("a decimal point is written `.`: {number}.{more}");
        return found((line, at - 1), message, [code.with(line, &[(at - 1, '.')])]);
    }
    if let Some((sign_line, sign)) = code.before(spot)
        && code.at((sign_line, sign)) == Some('%')
        && let Some((number_line, number)) = code.before((sign_line, sign))
        && code.at((number_line, number)).is_some_and(|c| c.is_ascii_digit())
    {
        return found((sign_line, sign), "numbers are written without `%`", [code.with(sign_line, &[(sign, ' ')])]);
    }
    let unit = code.word(spot);
    if ["ms", "s", "m", "h", "d", "w", "sec", "min", "hours", "days"].contains(&unit.as_str()) && digit(before(1)) {
        let number = code.number_around(line, at - 1);
        let (start, end) = (at - number.chars().count(), at + unit.chars().count());
        if unit == "ms" {
            let blank: Vec<(usize, char)> = (at..end).map(|at| (at, ' ')).collect();
            return found(
                (line, at),
                format!("values are numbers without a unit; limits of timings are in ms: {number}"),
                [code.with(line, &blank)],
            );
        }
        let mended = code.quoted(line, start, end);
        return found((line, start), format!("a duration stands in quotes: \"{number}{unit}\""), mended);
    }
    None
}

/// Operators and values that other languages write otherwise.
fn of_another_language(error: &ParseErrorType, code: &Code<'_>, spot: Spot) -> Option<Found> {
    let (line, at) = spot;
    let operator = |word: &str| match word {
        "and" => Some("&&"),
        "or" => Some("||"),
        "not" => Some("!"),
        _ => None,
    };
    let before = code.before(spot).map(|(line, end)| (line, end, code.word_ending((line, end))));
    let word_before = before.map(|(line, end, word)| ((line, (end + 1).saturating_sub(word.chars().count())), word));
    for (start, word) in [Some((spot, code.word(spot))), word_before].into_iter().flatten() {
        if let Some(sign) = operator(&word)
            && !matches!(error, ParseErrorType::Reserved(_))
        {
            let put: Vec<(usize, char)> =
                word.chars().enumerate().map(|(n, _)| (start.1 + n, sign.chars().nth(n).unwrap_or(' '))).collect();
            return found(start, format!("`{word}` is written `{sign}`"), [code.with(start.0, &put)]);
        }
    }
    if code.at(spot) == Some('=') && code.at((line, at + 1)) == Some('>') {
        return found(spot, "a closure is written |q| …, without `=>`", None);
    }
    match error {
        ParseErrorType::BadInput(LexError::ImproperSymbol(sign, _)) if sign == "=" && code.at((line, at + 1)) == Some(' ') => {
            found(spot, "`=` gives a variable a value; `==` compares", [code.with(line, &[(at + 1, '=')])])
        }
        ParseErrorType::Reserved(word) if ["null", "nil", "void", "undefined"].contains(&word.as_str()) => {
            found(spot, format!("there is no `{word}`; nothing is written `()`"), None)
        }
        ParseErrorType::UnknownOperator(sign) if sign == "?" => {
            found(spot, "there is no operator `?`; write `if a { b } else { c }`", None)
        }
        _ => None,
    }
}

/// Keys of maps, and maps that are written as blocks.
fn in_a_key(error: &ParseErrorType, code: &Code<'_>, spot: Spot) -> Option<Found> {
    let (line, at) = spot;
    match error {
        ParseErrorType::MissingToken(token, _) if token == ":" => {
            let (key_line, key_end) = code.before(spot)?;
            let key = code.word_ending((key_line, key_end));
            match code.at(spot) {
                Some('=') => {
                    let more = if code.at((line, at + 1)) == Some('=') { vec![(at, ':'), (at + 1, ' ')] } else { vec![(at, ':')] };
                    found(spot, format!("a key is followed by `:`, not by `=`: {key}: …"), [code.with(line, &more)])
                }
                Some('-') => {
                    let whole = format!("{key}-{}", code.word((line, at + 1)));
                    let start = (key_line, key_end + 1 - key.chars().count());
                    found(
                        start,
                        format!("a key with other signs than letters, digits and `_` stands in quotes: \"{}\"", clip(&whole)),
                        None,
                    )
                }
                _ => {
                    let mended = code.insert((key_line, key_end + 1), ":");
                    found((key_line, key_end + 1), format!("a `:` and a value are missing after the key `{key}`"), mended)
                }
            }
        }
        // The parser took a map for a block of statements and stumbles over the colon of its first key.
        _ if code.at(spot) == Some(':') => {
            let (open_line, open) = code.before_key(spot)?;
            if matches!(code.at((open_line, open)), Some('(' | ',')) {
                return found((open_line, open + 1), "keys and values stand in a map: #{ key: value }", None);
            }
            let is_block =
                code.at((open_line, open)) == Some('{') && open.checked_sub(1).is_none_or(|at| code.at((open_line, at)) != Some('#'));
            if !is_block {
                return None;
            }
            let free = |at: usize| code.at((open_line, at)).is_none_or(char::is_whitespace);
            let mended = if free(open + 1) {
                Some(code.with(open_line, &[(open, '#'), (open + 1, '{')]))
            } else if open.checked_sub(1).is_some_and(free) {
                Some(code.with(open_line, &[(open - 1, '#')]))
            } else {
                None
            };
            found((open_line, open), "a map begins with `#{`, not with `{`: #{ key: value }", mended)
        }
        ParseErrorType::Reserved(word) if code.at_after_word(spot) == Some(':') => word_as_key(word, code, spot),
        ParseErrorType::PropertyExpected | ParseErrorType::MissingToken(..)
            if code.at_after_word(spot) == Some(':') && is_keyword(&code.word(spot)) =>
        {
            let word = code.word(spot);
            word_as_key(&word, code, spot)
        }
        ParseErrorType::DuplicatedProperty(key) => {
            let hidden = (code.word(spot).chars().count() > 1).then(|| code.with(line, &[(at, '_')]));
            found(spot, format!("the key `{}` is given twice", clip(key)), hidden)
        }
        _ => None,
    }
}

/// Words of the language that somebody may want to use as a key.
fn is_keyword(word: &str) -> bool {
    [
        "for", "in", "if", "else", "while", "loop", "do", "until", "return", "switch", "try", "catch", "throw", "const", "let", "fn",
        "true", "false",
    ]
    .contains(&word)
}

/// `for: "5m"`: no key of ours has such a name, but one may be meant by it.
fn word_as_key(word: &str, code: &Code<'_>, spot: Spot) -> Option<Found> {
    let hint = meant_by(word).map_or_else(String::new, |key| format!("; did you mean `{key}`?"));
    // The key is passed over under another name of the same length.
    let hidden = (word.chars().count() > 1).then(|| code.with(spot.0, &[(spot.1, '_')]));
    found(spot, format!("`{}` cannot be a key: it is a word of the language{hint}", clip(word)), hidden)
}

/// A comma or a semicolon that is missing.
fn separator(error: &ParseErrorType, code: &Code<'_>, spot: Spot) -> Option<Found> {
    let ParseErrorType::MissingToken(token, _) = error else { return None };
    let here = code.at(spot);
    if here.is_none_or(|c| ")]};".contains(c)) {
        return None;
    }
    // A map is closed where no comma follows; before another key it is the comma that is missing.
    let sign = match token.as_str() {
        "," => ',',
        ";" => ';',
        "}" if here == Some('"') || code.at_after_word(spot) == Some(':') => ',',
        _ => return None,
    };
    let (line, end) = code.before(spot)?;
    let what = clip(&code.token_ending((line, end)));
    let message = match sign {
        ';' => format!("a `;` is missing after `{what}`"),
        _ => format!("a `,` is missing after `{what}`"),
    };
    found((line, end + 1), message, code.insert((line, end + 1), &sign.to_string()))
}

/// Brackets that do not match.
fn bracket(code: &Code<'_>) -> Option<Found> {
    let closing = |open: char| match open {
        '(' => ')',
        '[' => ']',
        _ => '}',
    };
    let shown = |(line, at): Spot| format!("line {}, column {}", line + 1, at + 1);
    let mut open: Vec<(char, Spot)> = Vec::new();
    let mut last = None;
    for (spot, c) in code.signs() {
        last = Some((spot, c));
        match c {
            '(' | '[' | '{' => open.push((c, spot)),
            ')' | ']' | '}' => match open.pop() {
                Some((opened, _)) if closing(opened) == c => {}
                Some((opened, at)) => {
                    let need = closing(opened);
                    let message = format!("a `{need}` is missing before this `{c}`: the `{opened}` of {} is still open", shown(at));
                    return found(spot, message, code.insert(spot, &need.to_string()));
                }
                None => return found(spot, format!("this `{c}` closes nothing"), [code.with(spot.0, &[(spot.1, ' ')])]),
            },
            _ => {}
        }
    }
    let (opened, spot) = *open.last()?;
    let missing: String = open.iter().rev().map(|(opened, _)| closing(*opened)).collect();
    // Before the semicolon at the end, if there is one.
    let end = last.map(|(spot, c)| if c == ';' { spot } else { (spot.0, spot.1 + 1) });
    let message = format!("this `{opened}` is never closed: `{missing}` is missing at the end");
    let whole = if matches!(last, Some((_, ';'))) { missing } else { missing + ";" };
    found(spot, message, end.and_then(|end| code.insert(end, &whole)))
}

/// A parser message in our words where rhai's own do not help.
fn plainly(error: &ParseError) -> String {
    let text = match &*error.0 {
        ParseErrorType::UnexpectedEOF => "the file ends in the middle of something; is a `}` or `)` missing?".to_owned(),
        ParseErrorType::Reserved(word) if word == "import" => {
            "`import` is not allowed: what stands in lib/NAME.rhai is seen everywhere as NAME::function(…)".to_owned()
        }
        ParseErrorType::Reserved(word) => format!("`{word}` is a reserved word"),
        ParseErrorType::PropertyExpected => "a key is expected here".to_owned(),
        ParseErrorType::BadInput(LexError::UnexpectedInput(text)) => format!("a value is expected here, not `{}`", clip(text)),
        ParseErrorType::UnknownOperator(text) => format!("there is no operator `{}`", clip(text)),
        ParseErrorType::AssignmentToInvalidLHS(_) => "`=` gives a variable a value, and this is none; `==` compares".to_owned(),
        other => other.to_string(),
    };
    let mut text: String = text.chars().take(300).collect();
    if let Some(first) = text.get(..1).map(str::to_lowercase) {
        text.replace_range(..1, &first);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;
    use rhai::Engine;

    use super::super::engine;
    use super::super::problem::Problems;
    use super::super::source::parse;

    /// Making one takes longer than reading a file.
    static ENGINE: LazyLock<Engine> = LazyLock::new(engine::bare);

    fn said(text: &str) -> Vec<String> {
        let mut problems = Problems::default();
        parse(&ENGINE, "a", text, &mut problems);
        problems.into_sorted().iter().map(|problem| problem.to_string().replacen("error: ", "", 1)).collect()
    }

    #[test]
    fn slips_are_named_in_the_words_of_a_rule_author() {
        for (text, expected) in [
            ("f(#{\n  a: \"x\" // y\n  b: 2\n});", "a:2:9: a `,` is missing after `\"x\"`"),
            ("f(#{ a: 1, b = 2 });", "a:1:14: a key is followed by `:`, not by `=`: b: …"),
            ("f(#{ a: 1, b });", "a:1:13: a `:` and a value are missing after the key `b`"),
            ("f(#{ a-b: 1 });", "a:1:6: a key with other signs than letters, digits and `_` stands in quotes: \"a-b\""),
            ("f(#{ a: 'shop' });", "a:1:9: a text stands in double quotes: \"shop\""),
            ("f(#{ a: “shop” });", "a:1:9: texts stand in straight double quotes, \", not in “"),
            ("f(#{ a: \"/p\\d+/\" });", "a:1:12: in a text a backslash is written twice: `\\\\d`, or the text stands in backticks"),
            ("f(#{ a: \"shop });", "a:1:9: the text that begins here has no closing `\"` on its line"),
            ("f(#{ a: 99,9 });", "a:1:11: a decimal point is written `.`: 99.9"),
            ("f(#{ a: 99.9%, b: 1 });", "a:1:13: numbers are written without `%`"),
            ("f(#{ a: 30d, b: 1 });", "a:1:9: a duration stands in quotes: \"30d\""),
            ("f(\"a\", 2500ms, 1);", "a:1:12: values are numbers without a unit; limits of timings are in ms: 2500"),
            ("f(#{ a: 1, for: \"5m\" });", "a:1:12: `for` cannot be a key: it is a word of the language; did you mean `pending`?"),
            ("f(#{ match: 1 });", "a:1:6: `match` cannot be a key: it is a word of the language; did you mean `when`?"),
            ("f(#{ owner: 1, owner: 2 });", "a:1:16: the key `owner` is given twice"),
            ("f(1)\ng(2);", "a:1:5: a `;` is missing after `)`"),
            ("f(#{ a: g(\"x\", #{ b: 1 ) });", "a:1:24: a `}` is missing before this `)`: the `{` of line 1, column 17 is still open"),
            ("f(#{ a: 1 }));", "a:1:13: this `)` closes nothing"),
            ("f(#{\n  a: 1\n\ng(1);", "a:1:4: this `{` is never closed: `})` is missing at the end"),
            ("f(#{ a: 1, });\ng(#{ a: });", "a:2:9: a value is expected here, not `}`"),
            ("if a and b { f(1) }", "a:1:6: `and` is written `&&`"),
            ("f(|q| q.a > 5 or q.b);", "a:1:15: `or` is written `||`"),
            ("f(#{ when: |q| not q.a });", "a:1:16: `not` is written `!`"),
            ("f(#{ when: q => q.a });", "a:1:14: a closure is written |q| …, without `=>`"),
            ("f(|q| { if q.a = 1 { true } });", "a:1:16: `=` gives a variable a value; `==` compares"),
            ("f(|q| null);", "a:1:7: there is no `null`; nothing is written `()`"),
            ("f(|q| q ? 1 : 2);", "a:1:9: there is no operator `?`; write `if a { b } else { c }`"),
            ("f(to: [1]);", "a:1:3: keys and values stand in a map: #{ key: value }"),
        ] {
            assert_eq!(said(text), [expected], "{text}");
        }
    }

    #[test]
    fn a_block_is_read_on_behind_a_slip() {
        let text = "f(#{\n  a: 'x',\n  b: 99,9\n  c = { d: 30d },\n  match: 1 e: 2\n)";
        assert_eq!(
            said(text),
            [
                "a:3:8: a decimal point is written `.`: 99.9",
                "a:3:10: a `,` is missing after `99.9`",
                "a:4:5: a key is followed by `:`, not by `=`: c: …",
                "a:4:7: a map begins with `#{`, not with `{`: #{ key: value }",
                "a:4:12: a duration stands in quotes: \"30d\"",
                "a:5:3: `match` cannot be a key: it is a word of the language; did you mean `when`?",
                "a:5:11: a `,` is missing after `1`",
                "a:6:1: a `}` is missing before this `)`: the `{` of line 1, column 4 is still open",
            ]
        );
    }

    const SAMPLE: &str = "// ä\nslo(\"a\", #{\n    objective: 99.9, window: \"30d\", // c\n    sli: good(\"request\", #{ app: 'x', route: `/a` }),\n});\nfn f(x) { x + 1 }\nalert(\"b\", #{ when: |q| { let n = q.count(\"step\", \"1h\"); n.total < f(2) && !(n.bad > 0.5) } });\n";

    proptest! {
        #[test]
        fn a_damaged_file_is_read_to_its_end(damage in prop::collection::vec((0_usize..400, 0_usize..4, "[(){}#:,;'\"=|&%`/*0-9a-z \\n\\[\\]\\\\ä]{0,2}"), 1..4)) {
            let mut signs: Vec<char> = SAMPLE.chars().collect();
            for (at, lost, put) in damage {
                let at = at.min(signs.len());
                let end = (at + lost).min(signs.len());
                signs.splice(at..end, put.chars());
            }
            let text: String = signs.into_iter().collect();
            let mut problems = Problems::default();
            parse(&ENGINE, "a", &text, &mut problems);
            let found = problems.into_sorted();
            prop_assert_eq!(found.is_empty(), ENGINE.compile(&text).is_ok(), "{}\n{:?}", text, found);
            let lines = text.lines().count().max(1);
            prop_assert!(found.iter().all(|problem| (1..=lines).contains(&problem.place.line)), "{}\n{:?}", text, found);
        }
    }
}
