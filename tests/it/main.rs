//! Tests of the parts together, on real databases.

mod backtest;
mod backtest_oracle;
mod backtest_stored;
mod browser;
mod burn_oracle;
mod canary;
mod chromium;
mod contract;
mod daemon;
mod evaluator_oracle;
mod flood;
mod git;
mod killed;
mod neighbour;
mod peers;
mod postgres;
mod promtool;
mod replicas;
mod restarted;
mod scenarios;
mod screenshots;
mod sdk;
mod shop;
mod store;
