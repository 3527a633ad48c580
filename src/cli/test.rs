//! `burnwatch test`: runs the rules' own tests in simulated time.

use std::path::PathBuf;

use clap::Args;

/// `test`
#[derive(Debug, Args)]
#[command(
    after_help = "Tests are in files named *_test.rhai in the rules folder. Prints a line a test and a summary; exits 1 if one fails.\n\n\
    Example of a test:\n  test(\"a bad release pages within five minutes\", |t| {\n      \
    t.traffic(\"request\", #{ app: \"shop\" }, #{ per_minute: 600, bad: 0.0002, lasts: \"2h\" });\n      \
    t.traffic(\"request\", #{ app: \"shop\" }, #{ per_minute: 600, bad: 0.25,   lasts: \"20m\" });\n      \
    t.expect_incident(#{ slo: \"checkout-api\", severity: \"page\", within: \"5m\" });\n  });"
)]
pub struct Test {
    /// The rules folder [default: rules.path of the configuration]
    pub path: Option<PathBuf>,
    /// Print the results as JSON
    #[arg(long)]
    pub json: bool,
}
