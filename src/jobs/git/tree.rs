//! The rules files of a commit, read as objects.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::GitError;
use super::call::Call;
use crate::rules::{self, DEPTH_MAX, FILE_BYTES_MAX, FILES_MAX, FOLDER_BYTES_MAX};

/// The list of a tree's files, and the files themselves.
const LIST_BYTES_MAX: u64 = 32 << 20;
const BLOBS_BYTES_MAX: u64 = (FOLDER_BYTES_MAX as u64) + (FILES_MAX as u64) * 256;

/// One entry of a tree.
struct Entry {
    path: String,
    blob: String,
    link: bool,
}

/// The rules files below a folder of a commit, by their path in that folder: what a checkout of it would hold.
pub(super) async fn files_of(repository: &Path, commit: &str, folder: &str) -> Result<BTreeMap<String, String>, GitError> {
    let tree = format!("{commit}:{folder}");
    let args = ["ls-tree", "-r", "-z", "-l", "--full-tree", &tree];
    let (code, list, said) = Call { bytes_max: LIST_BYTES_MAX, ..Call::new("ls-tree", repository, &args) }.run().await?;
    if code != Some(0) {
        // A commit without that folder is an answer, a damaged repository is none.
        let exists = Call::new("cat-file", repository, &["cat-file", "-e", &format!("{commit}^{{tree}}")]).answer().await;
        return exists.and_then(|_| if folder.is_empty() { Err(GitError::Failed { what: "ls-tree", said }) } else { Ok(BTreeMap::new()) });
    }
    let entries = entries(&list)?;
    let blobs: BTreeSet<&str> = entries.iter().map(|entry| entry.blob.as_str()).collect();
    let input = blobs.iter().flat_map(|blob| [blob.as_bytes(), b"\n"]).flatten().copied().collect();
    let call = Call::new("cat-file", repository, &["cat-file", "--batch"]);
    let contents = contents(&Call { input, bytes_max: BLOBS_BYTES_MAX, ..call }.answer().await?)?;
    let mut files = BTreeMap::new();
    let mut bytes = 0;
    for entry in &entries {
        let mut blob = entry.blob.as_str();
        if entry.link {
            let target = String::from_utf8_lossy(contents.get(blob).map_or(&[][..], Vec::as_slice)).into_owned();
            let led = follow(&entry.path, &target).and_then(|path| entries.iter().find(|other| other.path == path && !other.link));
            let refused = || GitError::Refused(format!("{}: a link must lead to another rules file of the folder", entry.path));
            blob = led.ok_or_else(refused)?.blob.as_str();
        }
        let unreadable = || GitError::Refused(format!("{}: cannot be read as UTF-8 text", entry.path));
        let text = String::from_utf8(contents.get(blob).ok_or_else(unreadable)?.clone()).map_err(|_| unreadable())?;
        bytes += text.len();
        if bytes > FOLDER_BYTES_MAX {
            return Err(too_much());
        }
        files.insert(entry.path.clone(), text);
    }
    Ok(files)
}

fn too_much() -> GitError {
    GitError::Refused("a rules folder may have at most 10,000 files and 64 MiB".into())
}

/// Reads `mode type blob size<TAB>path<NUL>…`; only what a rules folder on disk would have, too.
fn entries(list: &[u8]) -> Result<Vec<Entry>, GitError> {
    let mut entries = Vec::new();
    let mut bytes = 0;
    for line in list.split(|byte| *byte == 0).filter(|line| !line.is_empty()) {
        let strange = || GitError::Failed { what: "ls-tree", said: "gave a line that cannot be read".into() };
        let at = line.iter().position(|byte| *byte == b'\t').ok_or_else(strange)?;
        // A path that is no UTF-8 is no rules file on disk either.
        let Ok(path) = std::str::from_utf8(&line[at + 1..]) else { continue };
        let hidden = path.split('/').any(|part| part.starts_with('.'));
        if hidden || !(path.ends_with(".rhai") || rules::is_template(path)) || path.split('/').count() > DEPTH_MAX + 1 {
            continue;
        }
        let head = std::str::from_utf8(&line[..at]).map_err(|_| strange())?;
        let [mode, kind, blob, size] = head.split_whitespace().collect::<Vec<_>>()[..] else { return Err(strange()) };
        if kind != "blob" {
            // A submodule.
            continue;
        }
        let size: u64 = size.parse().map_err(|_| strange())?;
        if size > FILE_BYTES_MAX {
            return Err(GitError::Refused(format!("{path}: a rules file may have at most 4 MiB")));
        }
        bytes += size;
        if entries.len() >= FILES_MAX || bytes > FOLDER_BYTES_MAX as u64 {
            return Err(too_much());
        }
        entries.push(Entry { path: path.to_owned(), blob: blob.to_owned(), link: mode == "120000" });
    }
    Ok(entries)
}

/// Reads what `cat-file --batch` gives: `blob kind size<LF>content<LF>…`.
fn contents(mut batch: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, GitError> {
    let strange = || GitError::Failed { what: "cat-file", said: "gave something that cannot be read".into() };
    let mut contents = BTreeMap::new();
    while !batch.is_empty() {
        let end = batch.iter().position(|byte| *byte == b'\n').ok_or_else(strange)?;
        let head = std::str::from_utf8(&batch[..end]).map_err(|_| strange())?;
        let [blob, "blob", size] = head.split(' ').collect::<Vec<_>>()[..] else { return Err(strange()) };
        let size: usize = size.parse().map_err(|_| strange())?;
        let content = batch.get(end + 1..end + 1 + size).ok_or_else(strange)?;
        contents.insert(blob.to_owned(), content.to_vec());
        batch = batch.get(end + 2 + size..).ok_or_else(strange)?;
    }
    Ok(contents)
}

/// Where a link inside a folder leads, by its text alone; `None`: out of the folder.
fn follow(link: &str, target: &str) -> Option<String> {
    if target.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = link.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_stays_inside_its_folder() {
        assert_eq!(follow("a/b.rhai", "../c.rhai").as_deref(), Some("c.rhai"));
        assert_eq!(follow("a/b.rhai", "./d/e.rhai").as_deref(), Some("a/d/e.rhai"));
        assert_eq!(follow("a/b.rhai", "../../c.rhai"), None);
        assert_eq!(follow("b.rhai", "/etc/passwd"), None);
    }

    #[test]
    fn a_tree_gives_the_files_that_a_folder_would() {
        let list = b"100644 blob aa 3\ta.rhai\x00120000 blob bb 6\tlib/l.rhai\x00160000 commit cc -\tmodule.rhai\x00100644 blob dd 3\t.hidden/x.rhai\x00100644 blob ee 9\tREADME.md\x00";
        let found: Vec<(String, bool)> = entries(list).unwrap().into_iter().map(|entry| (entry.path, entry.link)).collect();
        assert_eq!(found, [("a.rhai".to_owned(), false), ("lib/l.rhai".to_owned(), true)]);
        let large = format!("100644 blob aa {}\ta.rhai\0", FILE_BYTES_MAX + 1);
        assert!(matches!(entries(large.as_bytes()), Err(GitError::Refused(text)) if text.contains("a.rhai")));
        assert!(entries(b"nonsense\x00").is_err());
    }

    #[test]
    fn contents_are_read_by_their_length() {
        let found = contents(b"aa blob 4\nx\ny\n\nbb blob 0\n\n").unwrap();
        assert_eq!((found["aa"].as_slice(), found["bb"].len()), (&b"x\ny\n"[..], 0));
        assert!(contents(b"aa missing\n").is_err());
        assert!(contents(b"aa blob 9\nx\n").is_err());
    }
}
