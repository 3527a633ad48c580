//! Which rules a process starts with.

use tracing::{error, warn};

use super::{Options, StartError, built_in_rules};
use crate::config::Config;
use crate::domain::time::Timestamp;
use crate::jobs::git::Remote;
use crate::jobs::reload::{Live, Looked, Reload, Source};
use crate::rules;
use crate::store::Store;

/// Where this process takes its rules from.
pub fn source(config: &Config, options: &Options) -> Result<Source, StartError> {
    Ok(match (&options.rules, &config.rules.git) {
        (Some(_), _) => Source::Given,
        (None, Some(git)) => Source::Remote(Remote::new(git.clone(), &config.data)),
        (None, None) if config.rules.path.is_dir() => Source::Folder(config.rules.path.clone()),
        (None, None) if config.rules.path_given => {
            let source = std::io::Error::from(std::io::ErrorKind::NotFound);
            return Err(StartError::Folder { path: config.rules.path.clone(), source });
        }
        (None, None) => Source::Given,
    })
}

/// The first rule set: the source's, or the last good one where that is refused or cannot be read.
pub async fn first_rules(
    config: &Config,
    options: &Options,
    reload: &mut Reload,
    store: &Store,
    now: Timestamp,
) -> Result<Looked, StartError> {
    let looked = match &reload.source {
        Source::Given => reload.take(&options.rules.clone().unwrap_or_else(built_in_rules), None, store, now).await?,
        Source::Folder(_) | Source::Remote(_) => reload.look(store, now).await?,
    };
    let failure = match &looked {
        Looked::Unchanged => return Ok(looked),
        Looked::Taken { warnings, .. } => {
            warnings.iter().for_each(|warning| warn!("{warning}"));
            return Ok(looked);
        }
        Looked::Refused { problems, .. } => StartError::Rules(rules::report(problems)),
        Looked::Unreachable { why } => StartError::Unreachable(why.clone()),
    };
    // Rules that were handed over are part of the program; what was stored before has nothing to do with them.
    let stored = if config.rules.git.is_some() || config.rules.path.is_dir() { reload.take_last_good(store, now).await? } else { None };
    let Some(revision) = stored else { return Err(failure) };
    error!(revision = %revision, "the last good rule set `{revision}` stays in force");
    Ok(looked)
}

/// A daemon without its receivers' secrets would fail at three in the morning: it says so at its start.
pub fn check_secrets(config: &Config, live: &Live) -> Result<(), StartError> {
    let rules = live.rules.load();
    let missing: std::collections::BTreeSet<String> =
        rules.receivers.iter().flat_map(|receiver| receiver.secrets()).filter(|name| config.secrets.lookup(name).is_err()).collect();
    if missing.is_empty() { Ok(()) } else { Err(StartError::Secrets(missing.into_iter().collect::<Vec<_>>().join(", "))) }
}
