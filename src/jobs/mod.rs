//! Background work: idempotent functions without input, run on a timer and when woken.

pub mod compact;
pub mod deliver;
pub mod explain;
pub mod flush;
pub mod heartbeat;
pub mod operator;
pub mod posted;
pub mod reload;
pub mod uptime;
pub mod watch;
