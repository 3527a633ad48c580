//! Pure decisions: no clock, no input or output, no logging, no async. Time and chance are arguments.

pub mod agent;
pub mod aggregate;
pub mod cell;
pub mod event;
pub mod filter;
pub mod fraction;
pub mod json;
pub mod keyed;
pub mod metric;
pub mod notification;
pub mod redact;
pub mod route_template;
pub mod rows;
pub mod rule;
pub mod segment;
pub mod series;
pub mod sketch;
pub mod snapshot;
pub mod time;
pub mod users;
pub mod varint;
