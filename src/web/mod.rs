//! The admin side: API and pages.

pub mod asset;
pub mod chart;
#[cfg(test)]
mod fixture;
pub mod frame;
pub mod icon;
pub mod inbox;
pub mod number;
pub mod pages;
#[cfg(test)]
mod preview;
pub mod query;
pub mod text;
