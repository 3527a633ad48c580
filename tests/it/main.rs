//! Tests of the parts together, on real databases.

mod backtest;
mod backtest_oracle;
mod backtest_stored;
mod browser;
mod canary;
mod daemon;
mod git;
mod killed;
mod neighbour;
mod postgres;
mod restarted;
mod scenarios;
mod store;
