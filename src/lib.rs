//! burnwatch

pub mod clock;
pub mod config;
pub mod domain;
pub mod intake;
pub mod sink;
pub mod store;
