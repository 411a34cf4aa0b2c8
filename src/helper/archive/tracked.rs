//! What git tracks: the paths in its index, and the files of a project that change while they are read.

use std::collections::HashSet;
use std::fs;
use std::io::Read;
use std::path::Path;

use anyhow::{Result, ensure};
use rustix::io::Errno;

use super::tree::Way;

/// The longest index of git that is read: some millions of files.
const INDEX: u64 = 256 << 20;
/// The beginning of the name of the second file of a split index.
const SHARED: &str = "sharedindex.";

/// The paths in git's index, read without git: nothing that a job left in `.git` can change how it is read.
pub fn tracked(way: &mut Way) -> Result<HashSet<Vec<u8>>> {
    // A copy, which a job cannot change while it is read.
    let copy = tempfile::tempdir()?;
    let at = copy.path().join("index");
    let git = Path::new(".git");
    let Some(bytes) = plain(way, &git.join("index"))? else {
        return Ok(HashSet::new());
    };
    fs::write(&at, &bytes)?;
    // The second file of a split index is named after the checksum in the first.
    for name in way.names(git)? {
        let checksum = name.to_str().and_then(|name| name.strip_prefix(SHARED));
        let checksum = checksum.and_then(|checksum| hex::decode(checksum).ok());
        if checksum.is_some_and(|checksum| {
            checksum.len() == 20 && memchr::memmem::find(&bytes, &checksum).is_some()
        }) && let Some(shared) = plain(way, &git.join(&name))?
        {
            fs::write(copy.path().join(&name), shared)?;
        }
    }
    let index = gix::index::File::at(
        &at,
        gix::hash::Kind::Sha1,
        false,
        gix::index::decode::Options::default(),
    )?;
    let paths = index
        .entries()
        .iter()
        .map(|entry| entry.path(&index).to_vec());
    Ok(paths.collect())
}

/// The contents of a plain file, if there is one.
fn plain(way: &mut Way, path: &Path) -> Result<Option<Vec<u8>>> {
    let file = match way.file(path) {
        Err(error) if changed(error) => None,
        file => file?,
    };
    let Some(file) = file else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    file.take(INDEX + 1).read_to_end(&mut bytes)?;
    ensure!(
        bytes.len() as u64 <= INDEX,
        "{} is longer than {} MB",
        path.display(),
        INDEX >> 20
    );
    Ok(Some(bytes))
}

/// Whether this error means that a path changed after it was found: it has gone, or is no directory any more.
pub fn changed(error: Errno) -> bool {
    matches!(error, Errno::NOENT | Errno::NOTDIR | Errno::LOOP)
}
