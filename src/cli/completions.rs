//! `burnwatch completions SHELL`

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::exit::Outcome;
use super::{Cli, output};

/// `completions`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  burnwatch completions bash > /etc/bash_completion.d/burnwatch\n  \
    burnwatch completions zsh > \"${fpath[1]}/_burnwatch\"\n  burnwatch completions fish > ~/.config/fish/completions/burnwatch.fish")]
pub struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script.
pub fn run(args: &Completions) -> Outcome {
    // Generated into memory first: the generator panics when its writer fails, as a closed pipe does.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "burnwatch", &mut script);
    output::say(&String::from_utf8_lossy(&script))
}
