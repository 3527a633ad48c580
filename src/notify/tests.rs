//! Every receiver type against a scripted peer.

mod http_answers;
mod looks;
mod mail;
mod pagers;
mod trackers;
