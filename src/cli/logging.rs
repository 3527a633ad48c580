//! The process's own log: text for a person at a terminal, JSON for everything else; one event is one line.

use std::fmt::{self, Write};
use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::format;

use super::output::{inert, is_control};
use crate::config::Environment;

/// What is logged unless a variable says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The daemon: what happens.
    Info,
    /// Commands: what a person must know.
    Warn,
}

/// Starts logging to stderr. The filter comes from `BURNWATCH_LOG`, else `RUST_LOG`, else `level`.
///
/// A second call in one process changes nothing.
pub fn start(environment: &Environment, level: Level) {
    let (filter, bad) = filter(environment, level);
    // A line that cannot be written (the disk is full) is lost. Said on the same stderr, that would end the task that logs.
    let builder = tracing_subscriber::fmt().with_env_filter(filter).log_internal_errors(false);
    let started = if io::stderr().is_terminal() {
        builder.with_writer(io::stderr).with_ansi(environment.get("NO_COLOR").is_none_or(str::is_empty)).fmt_fields(fields()).try_init()
    } else {
        builder.with_writer(|| Inert(io::stderr())).json().flatten_event(true).with_ansi(false).try_init()
    };
    if let (Ok(()), Some(bad)) = (started, bad) {
        tracing::warn!("the log filter in {bad} cannot be read and is ignored; write it like `info` or `burnwatch::notify=debug,warn`");
    }
}

/// The filter, and the variable whose text is none.
fn filter(environment: &Environment, level: Level) -> (EnvFilter, Option<&'static str>) {
    let default = match level {
        Level::Info => "info,sqlx=warn,hyper=warn,reqwest=warn,rustls=warn,h2=warn",
        Level::Warn => "warn",
    };
    let default = EnvFilter::try_new(default).unwrap_or_default();
    for name in ["BURNWATCH_LOG", "RUST_LOG"] {
        let Some(text) = environment.get(name).filter(|text| !text.trim().is_empty()) else { continue };
        return match EnvFilter::try_new(text) {
            Ok(filter) => (filter, None),
            Err(_) => (default, Some(name)),
        };
    }
    (default, None)
}

/// Fields as `name=value`, in which nothing breaks the line.
fn fields() -> impl for<'w> tracing_subscriber::fmt::FormatFields<'w> + 'static {
    let field = |writer: &mut format::Writer<'_>, field: &tracing::field::Field, value: &dyn fmt::Debug| {
        let mut escaped = Escaped(writer);
        match field.name() {
            "message" => write!(escaped, "{value:?}"),
            name => write!(escaped, "{name}={value:?}"),
        }
    };
    format::debug_fn(field).delimited(" ")
}

/// Escapes control characters on their way into a line.
struct Escaped<'a, W: Write>(&'a mut W);

impl<W: Write> Write for Escaped<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if is_control(c) { write!(self.0, "{}", c.escape_default())? } else { self.0.write_char(c)? }
        }
        Ok(())
    }
}

/// Escapes what JSON leaves alone and a terminal obeys, on its way out. An event comes in one piece.
struct Inert<W>(W);

impl<W: io::Write> io::Write for Inert<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write_all(inert(&String::from_utf8_lossy(line)).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(json: bool) -> String {
        let page = Page::default();
        let writer = page.clone();
        let builder = tracing_subscriber::fmt().with_ansi(false);
        let subscriber: Box<dyn tracing::Subscriber + Send + Sync> = if json {
            Box::new(builder.with_writer(move || Inert(writer.clone())).json().flatten_event(true).finish())
        } else {
            Box::new(builder.with_writer(move || writer.clone()).fmt_fields(fields()).finish())
        };
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(app = %"a\nb\u{1b}[31m", to = %"\u{9b}31m\u{202e}", "one\r\ntwo");
        });
        let bytes = page.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn r19_one_event_is_one_line_whatever_is_in_it() {
        for json in [false, true] {
            let text = logged(json);
            assert_eq!(text.matches('\n').count(), 1, "{text}");
            assert!(!text.contains(['\u{1b}', '\r', '\u{9b}', '\u{202e}']), "{text}");
        }
        assert!(logged(false).contains("one\\r\\ntwo app=a\\nb\\u{1b}[31m"), "{}", logged(false));
    }

    #[test]
    fn our_own_variable_comes_first_and_a_bad_filter_is_named() {
        let env = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<Environment>();
        let (chosen, bad) = filter(&env(&[("BURNWATCH_LOG", "error"), ("RUST_LOG", "trace")]), Level::Info);
        assert_eq!((chosen.to_string().as_str(), bad), ("error", None));
        assert_eq!(filter(&env(&[("RUST_LOG", "debug")]), Level::Info).0.to_string(), "debug");
        assert_eq!(filter(&env(&[("BURNWATCH_LOG", "a=b=c")]), Level::Warn).1, Some("BURNWATCH_LOG"));
    }
}
