//! Background work: idempotent functions without input, run on a timer and when woken.

pub mod changes;
pub mod compact;
pub mod deliver;
pub mod door;
pub mod explain;
pub mod failing;
pub mod flush;
pub mod follow;
pub mod git;
pub mod heartbeat;
pub mod known;
pub mod operator;
pub mod plight;
pub mod posted;
mod rebuild;
pub mod reload;
pub mod restored;
pub mod rotate;
pub mod skew;
pub mod stale;
pub mod tick;
pub mod uptime;
pub mod watch;
