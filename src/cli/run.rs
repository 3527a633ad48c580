//! `burnwatch run`: the daemon.

use std::time::Duration;

use clap::Args;

use super::exit::{Code, Failure, Outcome};
use super::{Context, logging, output};
use crate::app::{self, Options, StartError};
use crate::config::Purpose;

/// `run`
#[derive(Debug, Args)]
#[command(
    after_help = "Without any configuration: SQLite in ./burnwatch-data/, rules from ./rules (the built-in pack if there is no such folder),\n\
    pages and API on http://127.0.0.1:9320, intake on http://127.0.0.1:9321. Ctrl-C or SIGTERM ends it within ten seconds.\n\n\
    Example:\n  burnwatch --config /etc/burnwatch/burnwatch.toml run"
)]
pub struct Run {
    /// The database is an old one: hold what it would tell anew (copies by `backup` say so by themselves)
    #[arg(long)]
    pub restored: bool,
}

/// After so many steps of tasks a thread looks for what is new on sockets and for new connections: under a flood, somebody new
/// should wait for few steps of connections that send many requests at once, and not for tokio's 61.
const LOOK_EVERY: u32 = 5;

/// Runs the daemon until it is told to stop.
pub fn run(args: &Run, context: &Context) -> Outcome {
    let config = context.config(Purpose::Serve)?;
    logging::start(&context.environment, logging::Level::Info);
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.enable_all().event_interval(LOOK_EVERY).global_queue_interval(LOOK_EVERY).build();
    let runtime = runtime.map_err(|error| Failure::cannot(anyhow::Error::new(error).context("cannot start the runtime")))?;
    let outcome = runtime.block_on(async {
        let running =
            app::start(config, context.clock.clone(), Options { restored: args.restored, ..Options::default() }).await.map_err(failure)?;
        output::complain(&format!(
            "burnwatch is running: pages and API on http://{}, intake on http://{}. Ctrl-C stops it.",
            running.admin, running.intake
        ));
        app::told_to_stop().await;
        running.stop().await;
        Ok(())
    });
    // The tests of new rules may still compute; nothing waits for what they say any more.
    runtime.shutdown_timeout(Duration::from_millis(500));
    outcome
}

/// What a start that failed means to a script.
pub fn failure(error: StartError) -> Failure {
    match error {
        StartError::Rules(report) => {
            output::complain(&report.lines().map(output::plain).collect::<Vec<_>>().join("\n"));
            output::complain("error: the rules have errors, and there is no earlier good rule set; mend them and start again");
            Failure::said(Code::Usage)
        }
        StartError::Secrets(_) | StartError::Geo(_) => Failure::usage(anyhow::Error::new(error)),
        StartError::Store(ref store) if store.is_configuration() => Failure::usage(anyhow::Error::new(error)),
        StartError::Store(_)
        | StartError::Listen { .. }
        | StartError::Setup(_)
        | StartError::Folder { .. }
        | StartError::Unreachable(_) => Failure::cannot(anyhow::Error::new(error)),
    }
}
