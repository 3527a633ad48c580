//! burnwatch

pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod jobs;
pub mod notify;
pub mod store;
pub mod web;
