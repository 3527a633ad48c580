//! `burnwatch demo`: the daemon in a throwaway folder, with a simulated shop that has a past, users, and a bad release.
//!
//! `world` is the shop in numbers, `history` its last thirty days, `shop` its users of today, `script` what goes wrong, `mail`
//! where mail goes, and `tell` says what happens. The daemon is the one of `run`, set up in memory.

mod history;
mod mail;
mod script;
mod shop;
mod tell;
mod world;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::Args;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::client::Client;
use super::exit::{Failure, Outcome};
use super::run::failure;
use super::{Context, logging, output};
use crate::app::{self, Options};
use crate::chance;
use crate::config::{Config, Environment, Secrets, Smtp, SmtpTls};
use crate::domain::time::Span;
use crate::store::Store;
use crate::web::inbox::Inbox;
use tell::{Story, Voice};

/// Short, so that things happen while somebody watches.
const BUCKET: Span = Span::seconds(10);
const SETTLE: Span = Span::seconds(2);
/// The ports of `run`; if somebody has them, one of the next is taken.
const PORT: u16 = 9320;
const PORTS: u16 = 64;
/// With `--once`: the story has to be over by then.
const STORY_MAX: Duration = Duration::from_secs(600);

/// `demo`
#[derive(Debug, Args)]
#[command(
    after_help = "Everything is in memory and in a folder that is removed at the end; nothing leaves this machine. Within minutes, a bad\n\
    release pages, is explained and resolves; then there is another one every 15 minutes. Ctrl-C ends it.\n\n\
    Example:\n  burnwatch demo"
)]
pub struct Demo {
    /// Port of pages and API; the intake has the next one [default: 9320, or the next free one]
    #[arg(long)]
    port: Option<u16>,
    /// Leave the folder where it is
    #[arg(long)]
    keep: bool,
    /// End after the first incident: exits 0 when it has paged and resolved, 1 if that takes more than ten minutes
    #[arg(long)]
    once: bool,
}

/// Runs the demo until it is told to stop.
pub fn run(args: &Demo, context: &Context) -> Outcome {
    logging::start(&context.environment, logging::Level::Warn);
    let folder = Folder::new(args.keep)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("cannot start the runtime").map_err(Failure::cannot)?;
    let outcome = runtime.block_on(play(args, context, &folder.path));
    // Nothing may still write into the folder when it goes.
    runtime.shutdown_timeout(Duration::from_secs(1));
    drop(folder);
    outcome
}

async fn play(args: &Demo, context: &Context, folder: &Path) -> Outcome {
    let clock = context.clock.clone();
    let mut stopped = std::pin::pin!(app::told_to_stop());
    let (admin, intake) = ports(args.port)?;
    let smtp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("cannot listen for mail").map_err(Failure::cannot)?;
    let smtp_at = smtp.local_addr().context("the mail listener has no address").map_err(Failure::cannot)?;
    let config = config(folder, admin, intake, smtp_at);
    tokio::select! {
        written = write_history(&config, context) => written?,
        () = &mut stopped => return Ok(()),
    }

    let inbox = Arc::new(Inbox::new());
    let client = Client::new(&config, &Environment::default())?;
    let options = Options { inbox: Some(inbox.clone()), rules: Some(rules(admin)), ..Options::default() };
    let running = app::start(config, clock.clone(), options).await.map_err(failure)?;
    output::say(&greeting(args, running.admin, running.intake, folder))?;

    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let (rollouts, rollout) = watch::channel(None);
    let (story, mut told) = watch::channel(Story::default());
    let sent = Arc::new(shop::Sent::default());
    let voice = Voice { clock: clock.clone() };
    let client = Arc::new(client);
    tasks.spawn(mail::serve(smtp, inbox.clone(), clock.clone(), stop.clone()));
    tasks.spawn(shop::run(format!("http://{}/v1/rum", running.intake), rollout, clock, sent.clone(), stop.clone()));
    let (for_script, for_teller, stop_script, stop_teller) = (client.clone(), client, stop.clone(), stop.clone());
    let (script_voice, teller_voice) = (voice.clone(), voice.clone());
    tasks.spawn(async move { script::play(&for_script, rollouts, script_voice, stop_script).await });
    tasks.spawn(async move { tell::follow(&for_teller, inbox, teller_voice, story, stop_teller).await });

    let outcome = tokio::select! {
        () = &mut stopped => Ok(()),
        _ = told.wait_for(|story| story.resolved), if args.once => Ok(()),
        () = tokio::time::sleep(STORY_MAX), if args.once => Err(Failure::not_fine(anyhow!("the incident did not page and resolve within ten minutes"))),
    };
    let (beacons, refused) = (sent.beacons.load(Ordering::Relaxed), sent.refused.load(Ordering::Relaxed));
    voice.say(&format!("the shop closes after {beacons} beacons, of which {refused} were refused"));
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    running.stop().await;
    outcome
}

/// What the daemon would read from a file.
fn config(folder: &Path, admin: SocketAddr, intake: SocketAddr, smtp: SocketAddr) -> Config {
    let mut config = Config::defaults_in(folder);
    config.server.listen = admin;
    config.server.public_url = format!("http://{admin}/").parse().expect("an address makes a URL");
    config.intake.listen = intake;
    config.aggregation.bucket = BUCKET;
    config.aggregation.settle = SETTLE;
    config.delivery.allow_private = vec!["127.0.0.0/8".parse().expect("a network")];
    // Secrets are found where they always are; these protect nothing.
    let secrets = ["DEMO_PAGER_KEY", "DEMO_TICKET_KEY"].map(|name| (name.to_owned(), chance::id()));
    config.secrets = Secrets::new(BTreeMap::new(), secrets.into_iter().collect());
    config.smtp = Some(Smtp {
        host: smtp.ip().to_string(),
        port: smtp.port(),
        tls: SmtpTls::None,
        username: None,
        password: None,
        from: "burnwatch <burnwatch@shop.example>".to_owned(),
    });
    config
}

/// The demo's rules, and a module that knows where the inbox is.
fn rules(admin: SocketAddr) -> BTreeMap<String, String> {
    let inbox = format!("// Where the demo's pager, tickets and mail are.\nfn at(path) {{ \"http://{admin}/inbox\" + path }}\n");
    [("demo.rhai", include_str!("demo/demo.rhai").to_owned()), ("lib/inbox.rhai", inbox)]
        .into_iter()
        .map(|(path, text)| (path.to_owned(), text))
        .collect()
}

async fn write_history(config: &Config, context: &Context) -> Outcome {
    output::complain("writing thirty days of history …");
    let store = Store::open(&config.database.url, context.clock.now()).await;
    let store = store.context("cannot make a database").map_err(Failure::cannot)?;
    let mut progress = output::Progress::default();
    let written = history::write(&store, BUCKET, &context.clock, |share| progress.at(|| format!("{:3.0} %", share * 100.0))).await;
    drop(progress);
    store.close().await;
    let cells = written.context("cannot write history").map_err(Failure::cannot)?;
    output::complain(&format!("{cells} rows written"));
    Ok(())
}

fn greeting(args: &Demo, admin: SocketAddr, intake: SocketAddr, folder: &Path) -> String {
    let moved = if args.port.is_none() && admin.port() != PORT { format!("\n  (port {PORT} was taken)") } else { String::new() };
    let kept = if args.keep { "stays" } else { "is removed at the end" };
    format!(
        "\nA web shop with users in five countries, and thirty days of history. Look at:\n\n\
         \x20 who has to get up     http://{admin}/\n\
         \x20 what was delivered    http://{admin}/inbox     (pages, tickets, mail)\n\
         \x20 objectives, budgets   http://{admin}/slos\n\
         \x20 beacons go to         http://{intake}/v1/rum\n\
         \x20 folder                {folder} ({kept}){moved}\n\n\
         In {first} seconds a release goes out that breaks the checkout for some of its users. burnwatch is told that there was\n\
         a deploy, and nothing else; it has to notice by itself who is hit. All times are UTC. Ctrl-C ends it.\n",
        folder = folder.display(),
        first = script::FIRST.as_secs(),
    )
}

/// The addresses of pages and intake: the given port and the next one, or the first two that are free.
fn ports(given: Option<u16>) -> Result<(SocketAddr, SocketAddr), Failure> {
    let at = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let is_free = |port: &u16| std::net::TcpListener::bind(at(*port)).is_ok();
    let first = given.unwrap_or(PORT);
    if first == 0 || first > u16::MAX - 2 * PORTS {
        return Err(Failure::usage(anyhow!("--port {first} is not usable; choose one from 1 to {}", u16::MAX - 2 * PORTS)));
    }
    let mut free = (first..first + PORTS).filter(is_free);
    match (given, free.next()) {
        (None, Some(admin)) | (Some(_), Some(admin)) if given.is_none_or(|given| given == admin) => {
            let intake = free.next().ok_or_else(|| Failure::cannot(anyhow!("no port from {first} to {} is free", first + PORTS)))?;
            Ok((at(admin), at(intake)))
        }
        (Some(given), _) => Err(Failure::cannot(anyhow!("port {given} is taken; choose another --port, or leave it out"))),
        (None, _) => Err(Failure::cannot(anyhow!("no port from {first} to {} is free", first + PORTS))),
    }
}

/// A folder that goes when the demo does.
struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Folder {
    fn new(keep: bool) -> Result<Folder, Failure> {
        let path = std::env::temp_dir().join(format!("burnwatch-demo-{}", chance::id()));
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.with_context(|| format!("cannot make the folder {}", path.display())).map_err(Failure::cannot)?;
        Ok(Folder { path, keep })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = std::fs::remove_dir_all(&self.path)
        {
            output::complain(&format!("the folder {} could not be removed: {error}", self.path.display()));
        }
    }
}

#[cfg(test)]
mod tests;
