//! Tests of the parts together, on real databases.

mod postgres;
mod store;
