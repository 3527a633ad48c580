//! burnwatch

mod allocator;
pub mod app;
pub mod chance;
pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod intake;
pub mod jobs;
pub mod notify;
pub mod rules;
pub mod simulation;
pub mod sink;
pub mod store;
pub mod web;
