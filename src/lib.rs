//! burnwatch

pub mod domain;
