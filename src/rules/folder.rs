//! A rules folder on disk: which files it has, and what names their content.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::template::name_of;

/// Bounds of a rules folder, wherever it comes from.
pub const FILES_MAX: usize = 10_000;
pub const FILE_BYTES_MAX: u64 = 4 << 20;
pub const FOLDER_BYTES_MAX: usize = 64 << 20;
pub const DEPTH_MAX: usize = 16;

/// The `.rhai` files below a folder and its `templates/*.j2`, by their path in it (with `/`). Hidden files and links that leave the folder are left out.
pub fn read_folder(path: &Path) -> io::Result<BTreeMap<String, String>> {
    let root = path.canonicalize().map_err(|error| in_file(path, &error))?;
    if !root.is_dir() {
        return Err(io::Error::new(io::ErrorKind::NotADirectory, format!("{}: is no folder", path.display())));
    }
    let mut files = BTreeMap::new();
    let mut bytes = 0;
    walk(&root, &root, "", 0, &mut files, &mut bytes)?;
    Ok(files)
}

fn walk(root: &Path, folder: &Path, prefix: &str, depth: usize, files: &mut BTreeMap<String, String>, bytes: &mut usize) -> io::Result<()> {
    for entry in fs::read_dir(folder).map_err(|error| in_file(folder, &error))? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if name.starts_with('.') {
            continue;
        }
        let path = entry.path();
        // A link may vanish or dangle while a folder is being swapped; it is then not part of the folder.
        let Ok(real) = path.canonicalize() else { continue };
        if !real.starts_with(root) {
            continue;
        }
        let inside = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
        let meta = fs::metadata(&real).map_err(|error| in_file(&path, &error))?;
        if meta.is_dir() {
            if depth < DEPTH_MAX && !entry.file_type()?.is_symlink() {
                walk(root, &path, &inside, depth + 1, files, bytes)?;
            }
            continue;
        }
        if !name.ends_with(".rhai") && name_of(&inside).is_none() {
            continue;
        }
        let too_much = |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {what}", path.display()));
        if meta.len() > FILE_BYTES_MAX {
            return Err(too_much("a rules file may have at most 4 MiB"));
        }
        let text = fs::read_to_string(&real).map_err(|error| in_file(&path, &error))?;
        *bytes += text.len();
        if *bytes > FOLDER_BYTES_MAX || files.len() >= FILES_MAX {
            return Err(too_much("a rules folder may have at most 10,000 files and 64 MiB"));
        }
        files.insert(inside, text);
    }
    Ok(())
}

fn in_file(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Names the content of a folder: 40 hexadecimal digits that change with any file's path or text.
pub fn content_hash(files: &BTreeMap<String, String>) -> String {
    let mut hasher = Sha256::new();
    for (path, text) in files {
        for part in [path, text] {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part.as_bytes());
        }
    }
    let mut digits = hex::encode(hasher.finalize());
    digits.truncate(40);
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_its_rhai_files_by_their_path() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("b.rhai", "b");
        write("lib/vitals.rhai", "v");
        write("templates/mail.j2", "t");
        write("templates/deep/mail.j2", "no");
        write("mail.j2", "no");
        write("README.md", "no");
        write(".git/x.rhai", "no");
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret.rhai"), "no").unwrap();
        std::os::unix::fs::symlink(outside.path().join("secret.rhai"), folder.path().join("link.rhai")).unwrap();
        let files = read_folder(folder.path()).unwrap();
        assert_eq!(files.keys().map(String::as_str).collect::<Vec<_>>(), ["b.rhai", "lib/vitals.rhai", "templates/mail.j2"]);
        assert!(read_folder(&folder.path().join("none")).unwrap_err().to_string().contains("none"));
    }

    #[test]
    fn the_hash_changes_with_paths_and_texts() {
        let files = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let a = content_hash(&files(&[("a", "bc")]));
        assert_eq!(a.len(), 40);
        assert_ne!(a, content_hash(&files(&[("ab", "c")])));
        assert_eq!(a, content_hash(&files(&[("a", "bc")])));
    }
}
