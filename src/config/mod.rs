//! How a process runs: `burnwatch.toml` and `BURNWATCH_…` variables, read into checked values.
//!
//! Nothing here decides who is woken; that is in the rules. Every value that leaves this module has been checked, all problems
//! are reported at once with their place, and printing a [`Config`] never shows a secret.

mod check;
mod environment;
mod listeners;
mod network;
mod outgoing;
mod secret;
mod section;
mod tree;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::domain::time::Span;

pub use environment::{Environment, NO_KEYS, PREFIX};
pub use network::{BadNetwork, Network};
pub use secret::{Secret, SecretError, SecretSource, Secrets};
pub use section::Problem;
pub use tree::Place;

/// The name of the file that is read when none is named.
pub const FILE_NAME: &str = "burnwatch.toml";

/// Everything a process needs to know before it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// UI, API and `/metrics`.
    pub server: Server,
    /// The internet-facing listener.
    pub intake: Intake,
    /// Where things are stored.
    pub database: Database,
    /// The folder for what is kept beside the database: that of the SQLite file, else `burnwatch-data`.
    pub data: PathBuf,
    /// How events become numbers.
    pub aggregation: Aggregation,
    /// How long numbers are kept.
    pub retention: Retention,
    /// Where rules come from.
    pub rules: Rules,
    /// What `secret(NAME)` in rules can reach.
    pub secrets: Secrets,
    /// How mail goes out; `None`: it does not.
    pub smtp: Option<Smtp>,
    /// What receivers may reach, and what happens when they fail.
    pub delivery: Delivery,
    /// What is removed, hashed or dropped before anything is stored.
    pub privacy: Privacy,
    /// What is odd but no error; to be logged once at the start.
    pub warnings: Vec<Problem>,
}

/// `[server]`
#[derive(Clone, Debug)]
pub struct Server {
    /// Address of the admin listener.
    pub listen: SocketAddr,
    /// How people reach it; links in notifications begin with it.
    pub public_url: url::Url,
    /// Largest body of `POST /v1/aggregates` and `/api/v2/alerts`.
    pub body_bytes_max: usize,
    /// Who may use it; empty only on a loopback address.
    pub tokens: Vec<Token>,
}

/// Someone who may use the admin interface.
#[derive(Clone)]
pub struct Token {
    /// Who it is, for the audit.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// SHA-256 of the token; the token itself is not known here.
    pub sha256: [u8; 32],
}

impl Token {
    /// Whether it may do what `needed` allows; a wider scope holds the narrower ones.
    pub fn allows(&self, needed: Scope) -> bool {
        self.scopes.iter().any(|scope| *scope >= needed)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("name", &self.name).field("scopes", &self.scopes).finish_non_exhaustive()
    }
}

/// What a token may do; later ones hold the earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Look.
    Read,
    /// Acknowledge, silence, annotate, push aggregates.
    Operate,
    /// Everything.
    Admin,
}

/// `[intake]`
#[derive(Clone)]
pub struct Intake {
    /// Address of the beacon listener.
    pub listen: SocketAddr,
    /// App keys; empty = open (loopback only).
    pub keys: Vec<String>,
    /// Origins that browsers may post from; `*` allows all.
    pub allowed_origins: Vec<String>,
    /// Largest body of a beacon, after decompression.
    pub body_bytes_max: usize,
    /// Largest OTLP body, after decompression.
    pub otlp_bytes_max: usize,
    /// Sampling rate per app, for SDKs that do not send theirs.
    pub sample_rates: BTreeMap<String, f64>,
    /// A lower claimed rate is rejected.
    pub sample_rate_min: f64,
    /// Events per second and source address; 0 = no limit.
    pub rate_per_source: u32,
    /// Events a minute that one network or person may add to one metric of an app; 0 = no bound.
    pub influence_per_source: u32,
    /// Proxies whose `X-Forwarded-For` is believed, beside those on this machine.
    pub trusted_proxies: Vec<Network>,
    /// A file in MaxMind's format that tells the country of an address.
    pub geo_file: Option<PathBuf>,
    /// Flags whose variants become the dimension `cohort`.
    pub cohort_flags: Vec<String>,
    /// Routes that are tried in this order before the general rule: `/product/:sku`, `/docs/*`.
    pub route_templates: Vec<String>,
    /// How many values a place of a path may show before they share a route; 0 = any number.
    pub route_values_max: usize,
}

impl fmt::Debug for Intake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<Secret> = self.keys.iter().map(Secret::new).collect();
        f.debug_struct("Intake")
            .field("listen", &self.listen)
            .field("keys", &keys)
            .field("allowed_origins", &self.allowed_origins)
            .field("body_bytes_max", &self.body_bytes_max)
            .field("otlp_bytes_max", &self.otlp_bytes_max)
            .field("sample_rates", &self.sample_rates)
            .field("sample_rate_min", &self.sample_rate_min)
            .field("rate_per_source", &self.rate_per_source)
            .field("influence_per_source", &self.influence_per_source)
            .field("trusted_proxies", &self.trusted_proxies)
            .field("geo_file", &self.geo_file)
            .field("cohort_flags", &self.cohort_flags)
            .field("route_templates", &self.route_templates)
            .field("route_values_max", &self.route_values_max)
            .finish()
    }
}

/// `[database]`
#[derive(Clone)]
pub struct Database {
    /// `sqlite://path` (already resolved) or `postgres://…`, which may hold a password.
    pub url: String,
}

impl Database {
    /// The address without user, password and parameters, for people to read.
    pub fn shown(&self) -> String {
        match self.url.split_once("://") {
            Some(("sqlite", path)) => format!("sqlite://{}", path.split('?').next().unwrap_or_default()),
            _ => match url::Url::parse(&self.url) {
                Ok(url) => {
                    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
                    format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
                }
                Err(_) => Secret::default().to_string(),
            },
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("url", &self.shown()).finish()
    }
}

/// `[aggregation]`
#[derive(Clone, Debug)]
pub struct Aggregation {
    /// Length of a bucket.
    pub bucket: Span,
    /// How long after its end a bucket is closed.
    pub settle: Span,
    /// Additional wait per app, for aggregates that are pushed late.
    pub delay: BTreeMap<String, Span>,
    /// What events are told apart by, in order: the last one is folded first.
    pub dimensions: Vec<String>,
    /// Beyond this many series, values fold into `__other__`.
    pub series_max: usize,
}

/// `[retention]`
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Fine buckets.
    pub bucket: Span,
    /// Five-minute rollups.
    pub rollup_5m: Span,
    /// One-hour rollups.
    pub rollup_1h: Span,
}

/// `[rules]`
#[derive(Clone, Debug)]
pub struct Rules {
    /// The folder.
    pub path: PathBuf,
    /// Whether the folder was named: then it has to be there; the default one may be missing (the built-in pack is used).
    pub path_given: bool,
    /// The repository that is followed instead of the folder on disk.
    pub git: Option<Git>,
}

/// A repository of rules.
#[derive(Clone, Debug)]
pub struct Git {
    /// Where it is; may hold credentials.
    pub remote: Secret,
    /// The branch that is followed.
    pub branch: String,
    /// How often it is looked at.
    pub every: Span,
    /// The folder of the rules inside it; where there is none of this name, its top.
    pub folder: String,
    /// Whether only a commit with a good signature may take effect.
    pub verify_signatures: bool,
    /// Who may sign, in the form of ssh-keygen; `None`: whom the gpg keyring trusts.
    pub allowed_signers: Option<PathBuf>,
}

/// `[smtp]`
#[derive(Clone, Debug)]
pub struct Smtp {
    /// The server's name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is secured.
    pub tls: SmtpTls,
    /// Who signs in.
    pub username: Option<String>,
    /// With what.
    pub password: Option<Secret>,
    /// The sender of all mail.
    pub from: String,
}

/// How a connection to the mail server is secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpTls {
    /// Begins in the clear and must switch to TLS.
    Starttls,
    /// TLS from the first byte.
    Implicit,
    /// No TLS.
    None,
}

/// `[delivery]`
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Networks that receivers may reach beside public ones.
    pub allow_private: Vec<Network>,
    /// The receiver that is told when another one fails for good.
    pub fallback: Option<String>,
    /// A dead man's switch elsewhere that expects a call.
    pub heartbeat: Option<Heartbeat>,
}

/// `delivery.heartbeat`
#[derive(Clone, Debug)]
pub struct Heartbeat {
    /// What is called; whoever knows it can fake the heartbeat, so it is a secret.
    pub url: Secret,
    /// How often.
    pub every: Span,
}

/// `[privacy]`
#[derive(Clone, Debug)]
pub struct Privacy {
    /// Whether e-mail addresses, tokens, card-like numbers and the like are removed from texts.
    pub redact: bool,
    /// Further regular expressions whose matches are removed.
    pub redact_patterns: Vec<String>,
    /// What happens to events of people who did not consent (`consent: false` or `"none"`).
    pub consent: OptOut,
    /// What happens to events of browsers that say so (`Sec-GPC: 1`, `DNT: 1`).
    pub browser_signal: OptOut,
    /// The key of user hashes; `None`: one that burnwatch made and keeps in its database.
    pub hash_key: Option<Secret>,
    /// After this time the same user hashes to something else.
    pub hash_rotation: Span,
}

/// What happens to an event whose user said no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptOut {
    /// It counts as any other.
    Count,
    /// It counts, without user and session.
    Anonymous,
    /// It is dropped, and that is counted.
    Drop,
}

/// What the configuration is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The daemon: every secret must be there, and open listeners are refused.
    Serve,
    /// A tool: a missing secret file is a warning, listeners do not matter.
    Tool,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// Something in it is wrong; one line a problem.
    #[error("{}", lines(.0))]
    Invalid(Vec<Problem>),
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}

impl Config {
    /// Reads `file`, or `./burnwatch.toml` if that exists, or nothing, and lays the variables over it.
    pub fn load(file: Option<&Path>, environment: &Environment, purpose: Purpose) -> Result<Config, ConfigError> {
        let default = Path::new(FILE_NAME);
        let file = match file {
            Some(file) => Some(file),
            None => default.exists().then_some(default),
        };
        let Some(path) = file else { return Config::from_text(None, "", environment, purpose) };
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        Config::from_text(Some(path), &text, environment, purpose)
    }

    /// Reads a text as if it stood in `file`.
    pub fn from_text(file: Option<&Path>, text: &str, environment: &Environment, purpose: Purpose) -> Result<Config, ConfigError> {
        check::read(file, text, environment, purpose).map_err(|mut problems| {
            problems.sort();
            problems.dedup();
            ConfigError::Invalid(problems)
        })
    }

    /// The configuration of a process without file and variables, its paths relative to `folder`.
    pub fn defaults_in(folder: &Path) -> Config {
        let file = folder.join(FILE_NAME);
        Config::from_text(Some(&file), "", &Environment::default(), Purpose::Serve).expect("the defaults are valid, as the tests show")
    }
}

#[cfg(test)]
mod tests;
