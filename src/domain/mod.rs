//! Pure decisions: no clock, no input or output, no logging, no async. Time and chance are arguments.

pub mod alert;
pub mod burn;
pub mod cell;
pub mod coverage;
pub mod filter;
pub mod fraction;
pub mod history;
pub mod incident;
pub mod metric;
pub mod notification;
pub mod route;
pub mod rule;
pub mod segment;
pub mod series;
pub mod sketch;
pub mod snapshot;
pub mod time;
pub mod users;
pub mod varint;
pub mod window;
