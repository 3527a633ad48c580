//! Tests of the parts together, on real databases.

mod backtest;
mod backtest_oracle;
mod backtest_stored;
mod neighbour;
mod postgres;
mod store;
