//! The pages in a real browser: the daemon as it is started, a shop that fails, and what a person does about it.
//!
//! Without Chromium these tests are left out and say so; `tests/run` installs it.

mod door;
mod every_page;
mod hostile;
mod keyboard;
mod live;
mod scripted;
mod stage;
mod unscripted;
