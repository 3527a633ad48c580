//! What commands print: tables for people, bodies for programs.
//!
//! A reader that closes the pipe early (`| head`) is no failure, and nothing that came from outside reaches the terminal as a
//! control character.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use super::exit::{Failure, Outcome};

/// Prints a text on stdout, with one line end after it.
pub fn say(text: &str) -> Outcome {
    let mut out = io::stdout().lock();
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    written(out.write_all(text.as_bytes()).and_then(|()| out.write_all(end.as_bytes())).and_then(|()| out.flush()))
}

fn written(result: io::Result<()>) -> Outcome {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::cannot(anyhow::Error::new(error).context("cannot write to stdout")))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Prints a line on stderr; when that is closed there is nobody left to tell.
pub fn complain(text: &str) {
    let mut out = io::stderr().lock();
    let _ = writeln!(out, "{text}");
}

/// A text with everything escaped that could move the cursor, change colours or reverse the reading direction.
pub fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_control(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

/// The same JSON for a terminal: what would move its cursor or reorder its text can only stand in texts, where it is escaped.
pub fn inert(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for c in json.chars() {
        if is_control(c) && c != '\n' { shown.push_str(&format!("\\u{:04x}", u32::from(c))) } else { shown.push(c) }
    }
    shown
}

/// Control characters, line separators and the marks that reorder text.
pub fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}

/// Whether stdout takes colours.
pub fn colours() -> bool {
    let plain =
        std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    io::stdout().is_terminal() && !plain
}

/// The meaning of a word in a table, for its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tone {
    Bad,
    Warning,
    Good,
    Neutral,
}

fn tone(word: &str) -> Tone {
    match word {
        "page" | "firing" | "open" | "dead" | "stop" => Tone::Bad,
        "ticket" | "pending" | "acknowledged" | "unknown" => Tone::Warning,
        "ok" | "resolved" | "delivered" | "go" => Tone::Good,
        _ => Tone::Neutral,
    }
}

/// Rows under a head, columns aligned.
pub struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns; a head that begins with `>` is a column of numbers, set to the right.
    pub fn new(head: &[&'static str]) -> Table {
        Table { head: head.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; a missing value is shown as `-`.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells.iter().map(|cell| if cell.is_empty() { "-".to_owned() } else { plain(cell) }).collect());
    }

    /// Prints the table, or `nothing` if it has no rows.
    pub fn print(&self, nothing: &str) -> Outcome {
        if self.rows.is_empty() { say(nothing) } else { say(&self.render(colours())) }
    }

    fn render(&self, colours: bool) -> String {
        let widths: Vec<usize> = (0..self.head.len())
            .map(|n| self.rows.iter().map(|row| width(&row[n])).chain([width(self.head[n].trim_start_matches('>'))]).max().unwrap_or(0))
            .collect();
        let mut text = String::new();
        let head: Vec<String> = self.head.iter().map(|name| name.trim_start_matches('>').to_owned()).collect();
        self.line(&mut text, &head, &widths, false);
        for row in &self.rows {
            self.line(&mut text, row, &widths, colours);
        }
        text
    }

    fn line(&self, text: &mut String, cells: &[String], widths: &[usize], colours: bool) {
        let mut line = String::new();
        for (n, cell) in cells.iter().enumerate() {
            let gap = " ".repeat(widths[n] - width(cell));
            let colour = match tone(cell) {
                Tone::Bad => "31",
                Tone::Warning => "33",
                Tone::Good => "32",
                Tone::Neutral => "",
            };
            let shown = if colours && !colour.is_empty() { format!("\u{1b}[{colour}m{cell}\u{1b}[0m") } else { cell.clone() };
            let between = if n == 0 { "" } else { "  " };
            let right = self.head[n].starts_with('>');
            let _ = if right { write!(line, "{between}{gap}{shown}") } else { write!(line, "{between}{shown}{gap}") };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

fn width(cell: &str) -> usize {
    cell.chars().count()
}

/// A line on stderr that says how far long work is; silent unless a person watches.
pub struct Progress {
    watched: bool,
    shown: bool,
    last: Option<std::time::Instant>,
}

impl Default for Progress {
    fn default() -> Progress {
        Progress { watched: io::stderr().is_terminal(), shown: false, last: None }
    }
}

impl Progress {
    /// Says where the work is, at most five times a second.
    pub fn at(&mut self, done: impl FnOnce() -> String) {
        let due = self.last.is_none_or(|last| last.elapsed().as_millis() >= 200);
        if !self.watched || !due {
            return;
        }
        self.last = Some(std::time::Instant::now());
        self.shown = true;
        let mut out = io::stderr().lock();
        let _ = write!(out, "\r\u{1b}[K{}", plain(&done())).and_then(|()| out.flush());
    }
}

impl Progress {
    /// Leaves the line empty for what comes next.
    pub fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            let mut out = io::stderr().lock();
            let _ = write!(out, "\r\u{1b}[K").and_then(|()| out.flush());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_numbers_stand_right() {
        let mut table = Table::new(&["slo", ">burn", "state"]);
        table.row(vec!["checkout".into(), "14.4".into(), "firing".into()]);
        table.row(vec!["api".into(), "".into(), "ok".into()]);
        assert_eq!(table.render(false), "slo       burn  state\ncheckout  14.4  firing\napi          -  ok\n");
    }

    #[test]
    fn a_hostile_cell_stays_in_its_cell() {
        let mut table = Table::new(&["title"]);
        table.row(vec!["a\nb\u{1b}[2J\u{202e}".into()]);
        assert_eq!(table.render(true), "title\na\\nb\\u{1b}[2J\\u{202e}\n");
    }

    #[test]
    fn a_closed_pipe_is_no_failure_but_a_full_disk_is() {
        assert!(written(Err(io::ErrorKind::BrokenPipe.into())).is_ok());
        assert!(written(Err(io::ErrorKind::StorageFull.into())).is_err());
    }
}
