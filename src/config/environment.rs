//! The process's environment as a value, so that tests can hand in their own.

use std::collections::BTreeMap;
use std::fmt;

/// What the names of burnwatch's own variables begin with.
pub const PREFIX: &str = "BURNWATCH_";

/// Variables with the prefix that are no configuration keys: the clients' token and the log filter.
pub const NO_KEYS: [&str; 2] = ["BURNWATCH_TOKEN", "BURNWATCH_LOG"];

/// Environment variables, as they were when the process started.
///
/// Prints names only: values may be secrets.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The variables of this process; those that are not valid UTF-8 are left out.
    pub fn of_process() -> Environment {
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect()
    }

    /// One variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Variables that may override a key: those with the prefix, but [`NO_KEYS`].
    pub(super) fn overrides(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.0.iter().filter(|(name, _)| name.starts_with(PREFIX) && !NO_KEYS.contains(&name.as_str()));
        all.map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Environment {
        Environment(pairs.into_iter().collect())
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
