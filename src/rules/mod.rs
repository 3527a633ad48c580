//! The rule language: a folder of rhai scripts in, plain data and closures out (CONTRACT 4).
//!
//! [`load`] reads everything it is given and reports every problem at once, each with its exact
//! place. A folder with an error gives no rule set. What it declares is [`crate::domain::rule::RuleSet`], plain data;
//! the closures of free-form rules stay in [`Program`] and are asked at each evaluation.

mod alert;
mod calendar;
mod code;
mod draft;
mod dry_run;
mod engine;
mod folder;
mod lint;
mod load;
mod pack;
mod problem;
mod program;
mod query;
mod receiver;
mod references;
mod route;
mod script;
mod settle;
mod shape;
mod sli;
mod slo;
mod source;
mod syntax;
mod template;
#[cfg(test)]
mod tests;
mod tier;
mod value;

pub use folder::{DEPTH_MAX, FILE_BYTES_MAX, FILES_MAX, FOLDER_BYTES_MAX, content_hash, read_folder};
pub use load::{Env, Loaded, load};
pub use problem::{Level, Problem, report};
pub use program::{Program, RuleError, Verdict};
pub use script::{Expectation, Step, Test, Wanted};
pub use settle::settle;

/// Whether a path of a folder is that of a template.
pub fn is_template(path: &str) -> bool {
    template::name_of(path).is_some()
}

/// The pack that a start without a rules folder uses.
pub fn built_in() -> std::collections::BTreeMap<String, String> {
    pack::FILES.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
}
