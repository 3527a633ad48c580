//! The text of a block as code: what stands in comments is blank, what stands in texts is one kind of sign, so that brackets,
//! keys and separators can be looked for.

/// A line and a column, both from 0; columns are characters.
pub(super) type Spot = (usize, usize);

/// Stands for every character of a text.
const TEXT: char = '"';
/// A character literal is not longer than this.
const CHAR_MAX: usize = 12;

/// Lines of a block, as they are written and as code.
pub(super) struct Code<'a> {
    lines: &'a [String],
    from: usize,
    /// Where the block ends.
    to: usize,
    code: Vec<Vec<char>>,
}

impl<'a> Code<'a> {
    /// The block of the lines `[from, to)` of a file, and what follows it up to the line `last`.
    pub(super) fn new(lines: &'a [String], (from, to): (usize, usize), last: usize) -> Code<'a> {
        let (from, to) = (from.min(lines.len()), to.min(lines.len()));
        let end = to.max(last + 1).min(lines.len());
        Code { lines, from, to, code: masked(&lines[from..end]) }
    }

    /// The sign of the code at a spot; `None` beyond the end of a line.
    pub(super) fn at(&self, (line, at): Spot) -> Option<char> {
        self.code.get(line.checked_sub(self.from)?)?.get(at).copied()
    }

    /// The last sign before a spot that is not blank.
    pub(super) fn before(&self, (line, at): Spot) -> Option<Spot> {
        let mut end = Some(at);
        for line in (self.from..=line).rev() {
            let signs = self.code.get(line - self.from).map_or(&[][..], Vec::as_slice);
            let most = end.take().unwrap_or(signs.len()).min(signs.len());
            if let Some(at) = signs[..most].iter().rposition(|c| !c.is_whitespace()) {
                return Some((line, at));
            }
        }
        None
    }

    /// Every sign of the block that is not blank, with its spot.
    pub(super) fn signs(&self) -> impl Iterator<Item = (Spot, char)> {
        let from = self.from;
        let lines = self.code.iter().take(self.to - from).enumerate();
        let spots = lines.flat_map(move |(line, signs)| signs.iter().enumerate().map(move |(at, c)| ((line + from, at), *c)));
        spots.filter(|(_, c)| !c.is_whitespace())
    }

    /// The word that begins at a spot.
    pub(super) fn word(&self, (line, at): Spot) -> String {
        (at..).map_while(|at| self.at((line, at)).filter(|c| is_word(*c))).collect()
    }

    /// The word that ends with the sign at a spot.
    pub(super) fn word_ending(&self, (line, end): Spot) -> String {
        let start = (0..=end).rev().take_while(|at| self.at((line, *at)).is_some_and(is_word)).last();
        start.map(|start| self.between((line, start), end + 1)).unwrap_or_default()
    }

    /// The number, word, text or sign that ends at a spot, as it is written.
    pub(super) fn token_ending(&self, (line, end): Spot) -> String {
        let last = self.at((line, end)).unwrap_or(' ');
        let alike = |c: char| if last == TEXT { c == TEXT } else { is_word(last) && (is_word(c) || c == '.') };
        let start = (0..=end).rev().take_while(|at| *at == end || self.at((line, *at)).is_some_and(alike)).last().unwrap_or(end);
        self.between((line, start), end + 1)
    }

    /// Digits and points up to and including this place.
    pub(super) fn number_around(&self, line: usize, end: usize) -> String {
        let part = |c: char| c.is_ascii_digit() || c == '.' || c == '_';
        let start = (0..=end).rev().take_while(|at| self.at((line, *at)).is_some_and(part)).last().unwrap_or(end);
        self.between((line, start), end + 1)
    }

    /// What follows the word (or text) at a spot, past blanks of its line.
    pub(super) fn at_after_word(&self, (line, at): Spot) -> Option<char> {
        let part = |c: char| is_word(c) || c == TEXT;
        let end = (at..).find(|at| !self.at((line, *at)).is_some_and(part))?;
        (end..).map_while(|at| self.at((line, at))).find(|c| !c.is_whitespace())
    }

    /// What stands before the key that a colon follows.
    pub(super) fn before_key(&self, colon: Spot) -> Option<Spot> {
        let (line, end) = self.before(colon)?;
        let part = |c: char| is_word(c) || c == TEXT;
        let start = (0..=end).rev().take_while(|at| self.at((line, *at)).is_some_and(part)).last()?;
        self.before((line, start))
    }

    /// Where brackets, separators and blanks at the end of a line begin, as it is written: where a text may have been meant to end.
    pub(super) fn tail(&self, line: usize) -> Option<usize> {
        let signs: Vec<char> = self.lines.get(line)?.chars().collect();
        let tail = signs.iter().rposition(|c| !c.is_whitespace() && !")]},;".contains(*c)).map_or(0, |at| at + 1);
        (tail < signs.len()).then_some(tail)
    }

    /// The columns of a character in a line, as it is written.
    pub(super) fn find(&self, line: usize, wanted: char) -> Vec<usize> {
        let signs = self.lines.get(line).map(String::as_str).unwrap_or_default().chars();
        signs.enumerate().filter(|(_, c)| *c == wanted).map(|(at, _)| at).collect()
    }

    /// The first column of a text in a line, as it is written.
    pub(super) fn find_text(&self, line: usize, wanted: &str) -> Option<usize> {
        let text = self.lines.get(line)?;
        text.find(wanted).map(|at| text[..at].chars().count())
    }

    /// Part of a line, as it is written.
    pub(super) fn between(&self, (line, from): Spot, to: usize) -> String {
        let text = self.lines.get(line).map(String::as_str).unwrap_or_default();
        text.chars().skip(from).take(to.saturating_sub(from)).collect()
    }

    /// A line with some characters put over others.
    pub(super) fn with(&self, line: usize, changes: &[(usize, char)]) -> (usize, String) {
        let mut signs: Vec<char> = self.lines.get(line).map(String::as_str).unwrap_or_default().chars().collect();
        for (at, c) in changes {
            signs.resize(signs.len().max(at + 1), ' ');
            signs[*at] = *c;
        }
        (line, signs.into_iter().collect())
    }

    /// A line with something put in between, where that moves nothing but closing brackets and separators: into a blank or at
    /// the end. `None`: there is no room.
    pub(super) fn insert(&self, (line, at): Spot, text: &str) -> Option<(usize, String)> {
        let signs: Vec<char> = self.lines.get(line)?.chars().collect();
        let code = self.code.get(line.checked_sub(self.from)?)?;
        let moved = code.get(at..)?.iter().take_while(|c| ")]},;".contains(**c)).count();
        let rest = &signs[(at + moved).min(signs.len())..];
        let room = rest.iter().take_while(|c| c.is_whitespace()).count();
        let wanted = text.chars().count();
        if room < wanted && room < rest.len() {
            return None;
        }
        let before = signs.iter().take(at);
        let closing = signs.iter().skip(at).take(moved);
        Some((line, before.copied().chain(text.chars()).chain(closing.copied()).chain(rest.iter().skip(wanted).copied()).collect()))
    }

    /// A line with quotes around `[start, end)`, where there is room for them.
    pub(super) fn quoted(&self, line: usize, start: usize, end: usize) -> Option<(usize, String)> {
        let (_, closed) = self.insert((line, end), "\"")?;
        let mut signs: Vec<char> = closed.chars().collect();
        let open = start.checked_sub(1).filter(|at| signs.get(*at).is_some_and(|c| c.is_whitespace()))?;
        signs[open] = '"';
        Some((line, signs.into_iter().collect()))
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

enum Inside {
    Code,
    /// How deep comments are nested.
    Comment(usize),
    Backticks,
}

/// Blanks out comments and texts.
fn masked(lines: &[String]) -> Vec<Vec<char>> {
    let mut inside = Inside::Code;
    lines.iter().map(|line| mask_line(&line.chars().collect::<Vec<char>>(), &mut inside)).collect()
}

fn mask_line(signs: &[char], inside: &mut Inside) -> Vec<char> {
    let mut code = Vec::with_capacity(signs.len());
    let mut at = 0;
    while let Some(c) = signs.get(at).copied() {
        let next = signs.get(at + 1).copied();
        let (taken, sign) = match (&*inside, c, next) {
            (Inside::Comment(depth), '*', Some('/')) => {
                *inside = if *depth > 1 { Inside::Comment(depth - 1) } else { Inside::Code };
                (2, ' ')
            }
            (Inside::Comment(depth), '/', Some('*')) => {
                *inside = Inside::Comment(depth + 1);
                (2, ' ')
            }
            (Inside::Comment(_), ..) => (1, ' '),
            (Inside::Backticks, '`', _) => {
                *inside = Inside::Code;
                (1, TEXT)
            }
            (Inside::Backticks, ..) => (1, TEXT),
            (Inside::Code, '/', Some('/')) => (signs.len() - at, ' '),
            (Inside::Code, '/', Some('*')) => {
                *inside = Inside::Comment(1);
                (2, ' ')
            }
            (Inside::Code, '`', _) => {
                *inside = Inside::Backticks;
                (1, TEXT)
            }
            (Inside::Code, '"', _) => (text_length(&signs[at..]), TEXT),
            (Inside::Code, '\'', _) => (char_length(&signs[at..]), TEXT),
            (Inside::Code, ..) => (1, c),
        };
        code.extend(std::iter::repeat_n(sign, taken));
        at += taken;
    }
    code
}

/// A text up to its closing quote, or to the end of the line.
fn text_length(signs: &[char]) -> usize {
    let mut at = 1;
    while let Some(c) = signs.get(at) {
        match c {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    signs.len()
}

/// A character in single quotes; a single quote that stands alone is only that.
fn char_length(signs: &[char]) -> usize {
    let close = signs.iter().enumerate().skip(1).take(CHAR_MAX).find(|(at, c)| **c == '\'' && signs[at - 1] != '\\');
    close.map_or(1, |(at, _)| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn comments_are_blank_and_texts_are_one_sign() {
        let lines = lines("a(\"b\\\"(\", 'c') // ]\n/* ( /* [ */ { */ d `x\n}` e");
        let code = Code::new(&lines, (0, 3), 2);
        let text = |line: usize| code.code[line].iter().collect::<String>();
        assert_eq!(text(0), "a(\"\"\"\"\"\", \"\"\")     ");
        assert_eq!(text(1).trim(), "d \"\"");
        assert_eq!(text(2), "\"\" e");
        assert_eq!(code.before((1, 17)), Some((0, 13)));
    }

    #[test]
    fn something_is_put_in_only_where_nothing_else_moves() {
        let lines = lines("a(1 2);\na(1)b\na(");
        let code = Code::new(&lines, (0, 3), 2);
        assert_eq!(code.insert((0, 3), ","), Some((0, "a(1,2);".into())));
        assert_eq!(code.insert((0, 5), "]"), Some((0, "a(1 2]);".into())));
        assert_eq!(code.insert((1, 3), "]"), None);
        assert_eq!(code.insert((2, 2), ")"), Some((2, "a()".into())));
        assert_eq!(code.quoted(0, 4, 5), Some((0, "a(1\"2\");".into())));
    }
}
