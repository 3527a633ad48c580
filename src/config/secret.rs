//! Values that must never be printed, and where rules' secrets come from.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::environment::{Environment, PREFIX};

/// A secret file longer than this is a mistake (someone pointed at the wrong file).
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// A text that prints as `[redacted]`; only [`Secret::expose`] hands it out.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text itself: for the one call that needs it, never for a message.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}
impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Where `[secrets]` says that a name's value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// An environment variable.
    Env(String),
    /// A file, its path already resolved.
    File(PathBuf),
}

/// What `secret(NAME)` in rules can reach.
///
/// The environment is the one of the start; files are read at each lookup, so a rotated file is picked up.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    named: BTreeMap<String, SecretSource>,
    environment: Environment,
}

/// Why a secret has no value.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// burnwatch's own variables are not for rules.
    #[error("secret `{0}` is refused: names that begin with BURNWATCH_ belong to burnwatch itself; choose another name")]
    Refused(String),
    /// The name is not one that a variable could have.
    #[error("`{0}` cannot name a secret; use letters, digits and _")]
    BadName(String),
    /// Nothing has a value for it.
    #[error("secret `{0}` is not set; name it in [secrets], or set the variable {0} or {0}_FILE")]
    Missing(String),
    /// `[secrets]` names a variable that is not set.
    #[error("secret `{name}` is not set: [secrets] takes it from the variable {variable}, which is missing or empty")]
    VariableMissing {
        /// The secret.
        name: String,
        /// The variable that `[secrets]` names.
        variable: String,
    },
    /// Its file holds nothing.
    #[error("secret `{name}` is empty in {}", path.display())]
    Empty {
        /// The secret.
        name: String,
        /// The file.
        path: PathBuf,
    },
    /// Its file cannot be read.
    #[error("secret `{name}` cannot be read from {}", path.display())]
    Unreadable {
        /// The secret.
        name: String,
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
}

impl Secrets {
    /// Builds the lookup from the `[secrets]` table and the environment of the start.
    pub fn new(named: BTreeMap<String, SecretSource>, environment: Environment) -> Secrets {
        Secrets { named, environment }
    }

    /// The value of `name`: `[secrets]` first, else the variable NAME, else the file that NAME_FILE names.
    pub fn lookup(&self, name: &str) -> Result<Secret, SecretError> {
        check_name(name)?;
        match self.named.get(name) {
            Some(SecretSource::Env(variable)) => match self.environment.get(variable) {
                Some(value) if !value.is_empty() => Ok(Secret::new(value)),
                _ => Err(SecretError::VariableMissing { name: name.to_owned(), variable: variable.clone() }),
            },
            Some(SecretSource::File(path)) => from_file(name, path),
            None => self.of_variables(name),
        }
    }

    fn of_variables(&self, name: &str) -> Result<Secret, SecretError> {
        if let Some(value) = self.environment.get(name).filter(|value| !value.is_empty()) {
            return Ok(Secret::new(value));
        }
        match self.environment.get(&format!("{name}_FILE")).filter(|path| !path.is_empty()) {
            Some(path) => from_file(name, Path::new(path)),
            None => Err(SecretError::Missing(name.to_owned())),
        }
    }
}

/// A name is a variable's name, and not one of burnwatch's own.
pub(super) fn check_name(name: &str) -> Result<(), SecretError> {
    let shown = || name.chars().take(64).collect::<String>();
    if name.to_ascii_uppercase().starts_with(PREFIX) {
        return Err(SecretError::Refused(shown()));
    }
    let fine = (1..=128).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !name.as_bytes()[0].is_ascii_digit();
    if fine { Ok(()) } else { Err(SecretError::BadName(shown())) }
}

fn from_file(name: &str, path: &Path) -> Result<Secret, SecretError> {
    let text = read_secret_file(path).map_err(|source| SecretError::Unreadable { name: name.to_owned(), path: path.to_owned(), source })?;
    if text.is_empty() {
        return Err(SecretError::Empty { name: name.to_owned(), path: path.to_owned() });
    }
    Ok(Secret::new(text))
}

/// The text of a secret file, without the line end that editors and `echo` add.
pub(super) fn read_secret_file(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let read = std::fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if read as u64 > FILE_BYTES_MAX {
        return Err(std::io::Error::other("longer than 64 KiB; is this the right file?"));
    }
    let kept = text.trim_end_matches(['\r', '\n']).len();
    text.truncate(kept);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_secret_prints_as_redacted() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?} {:?}", Some(&secret)), "[redacted] [redacted] Some([redacted])");
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn the_table_comes_before_the_variable_and_the_variable_before_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pager");
        std::fs::write(&file, "from-file\n").unwrap();
        let path = file.to_str().unwrap();
        let env = environment(&[("PAGER", "from-variable"), ("PAGER_FILE", path), ("ONLY_FILE", path), ("OTHER", "named")]);
        let named = [("NAMED".to_owned(), SecretSource::Env("OTHER".into())), ("PAGED".to_owned(), SecretSource::File(file.clone()))];
        let secrets = Secrets::new(named.into(), env);
        assert_eq!(secrets.lookup("NAMED").unwrap().expose(), "named");
        assert_eq!(secrets.lookup("PAGED").unwrap().expose(), "from-file");
        assert_eq!(secrets.lookup("PAGER").unwrap().expose(), "from-variable");
        assert_eq!(secrets.lookup("ONLY").unwrap().expose(), "from-file");
        assert!(matches!(secrets.lookup("NOWHERE"), Err(SecretError::Missing(_))));
    }

    #[test]
    fn burnwatchs_own_names_are_refused() {
        let secrets = Secrets::new(BTreeMap::new(), environment(&[("BURNWATCH_TOKEN", "t"), ("X", "1")]));
        assert!(matches!(secrets.lookup("BURNWATCH_TOKEN"), Err(SecretError::Refused(_))));
        assert!(matches!(secrets.lookup("burnwatch_token"), Err(SecretError::Refused(_))));
        assert!(matches!(secrets.lookup("../etc/passwd"), Err(SecretError::BadName(_))));
        assert!(!format!("{secrets:?}").contains("\"t\""), "{secrets:?}");
    }

    #[test]
    fn a_missing_or_empty_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("empty"), "\n").unwrap();
        let named =
            |file: &str| Secrets::new([("A".to_owned(), SecretSource::File(folder.path().join(file)))].into(), Environment::default());
        assert!(matches!(named("empty").lookup("A"), Err(SecretError::Empty { .. })));
        assert!(matches!(named("gone").lookup("A"), Err(SecretError::Unreadable { .. })));
    }
}
