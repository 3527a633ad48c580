//! The admin side: API and pages.

pub mod asset;
pub mod chart;
pub mod frame;
pub mod icon;
pub mod number;
pub mod query;
pub mod text;
