//! The admin side: API and pages.

pub mod api;
pub mod asset;
pub mod chart;
#[cfg(test)]
mod fixture;
pub mod frame;
pub mod guard;
pub mod icon;
pub mod inbox;
pub mod number;
pub mod pages;
#[cfg(test)]
mod preview;
pub mod problem;
pub mod query;
pub mod session;
pub mod state;
pub mod text;

pub use state::State;
