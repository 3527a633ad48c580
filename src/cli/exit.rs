//! How a command ends: the one place that knows the exit codes (CONTRACT 2).

use std::process::ExitCode;

use super::output;
use crate::config::ConfigError;

/// What an exit code means to a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// What was checked or asked for is not fine: bad rules, failed tests, no budget, an unknown name, refused rows.
    NotFine = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// It could not be done: no daemon, no database, a failed read or write.
    Cannot = 3,
}

/// Why a command did not end well.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub code: Code,
    /// What to say on stderr; `None` when the command has said everything already.
    pub error: Option<anyhow::Error>,
}

/// What every command returns.
pub type Outcome = Result<(), Failure>;

impl Failure {
    /// Not fine, and this is why.
    pub fn not_fine(error: impl Into<anyhow::Error>) -> Failure {
        Failure { code: Code::NotFine, error: Some(error.into()) }
    }

    /// A mistake in the command line or the configuration.
    pub fn usage(error: impl Into<anyhow::Error>) -> Failure {
        Failure { code: Code::Usage, error: Some(error.into()) }
    }

    /// It could not be done.
    pub fn cannot(error: impl Into<anyhow::Error>) -> Failure {
        Failure { code: Code::Cannot, error: Some(error.into()) }
    }

    /// The command has printed what is wrong; only the code is left to say.
    pub fn said(code: Code) -> Failure {
        Failure { code, error: None }
    }
}

impl From<ConfigError> for Failure {
    /// A configuration that is wrong or not there is a configuration error, whichever command reads it.
    fn from(error: ConfigError) -> Failure {
        Failure::usage(error)
    }
}

/// Says what is left to say and gives the process's exit code.
pub fn finish(outcome: Outcome) -> ExitCode {
    let Err(failure) = outcome else { return ExitCode::SUCCESS };
    if let Some(error) = &failure.error {
        output::complain(&message(error));
    }
    ExitCode::from(failure.code as u8)
}

/// The whole chain of causes on one line; a configuration's problems on one line each.
fn message(error: &anyhow::Error) -> String {
    let mut text = String::from("error: ");
    for (n, cause) in error.chain().enumerate() {
        if n > 0 {
            text.push_str(": ");
        }
        let lines: Vec<String> = cause.to_string().lines().map(output::plain).collect();
        text.push_str(&lines.join("\n       "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_are_those_of_the_contract() {
        assert_eq!((Code::NotFine as u8, Code::Usage as u8, Code::Cannot as u8), (1, 2, 3));
        let config = ConfigError::Invalid(Vec::new());
        assert_eq!(Failure::from(config).code, Code::Usage);
    }

    #[test]
    fn the_whole_chain_is_said_and_nothing_of_it_controls_the_terminal() {
        let error = anyhow::anyhow!("refused \u{1b}[31m").context("cannot reach burnwatch");
        assert_eq!(message(&error), "error: cannot reach burnwatch: refused \\u{1b}[31m");
    }
}
