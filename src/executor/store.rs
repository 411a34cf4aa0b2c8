//! Archives of artifacts of local jobs, on this host: in a store that only the runner writes.

use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::partial;
use crate::plan::Kept;

/// The zip files in a directory, by their names; none where there is no directory.
pub(super) fn archives(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut archives = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let hidden = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if path.extension().is_some_and(|ending| ending == "zip") && !hidden {
            archives.push(path);
        }
    }
    archives.sort();
    Ok(archives)
}

/// Makes the place for a job's archive, and a file in it that is not whole yet.
pub(super) fn place(kept: &Kept) -> io::Result<NamedTempFile> {
    let directory = kept.archives_of(&kept.job);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&directory)?;
    fs::write(&kept.label, kept.checkout.as_os_str().as_bytes())?;
    partial::create(&directory)
}

/// Puts a file in place of the archives that are there, unless there is nothing in it. Returns whether it did.
pub(super) fn put_in_place(partial: NamedTempFile, target: &Path) -> io::Result<bool> {
    if partial.as_file().metadata()?.len() == 0 {
        return Ok(false);
    }
    partial.persist(target)?;
    let others = archives(target.parent().unwrap_or(Path::new(".")))?;
    others
        .iter()
        .filter(|other| *other != target)
        .try_for_each(fs::remove_file)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::{archives, place, put_in_place};
    use crate::plan::Kept;
    use std::fs;
    use std::io::Write;
    use std::path::Path;

    fn kept(top: &Path) -> Kept {
        Kept {
            checkout: top.join("site"),
            store: top.join("store"),
            label: top.join("store/checkout"),
            job: "build".to_owned(),
            shown: "build".to_owned(),
            from: Vec::new(),
        }
    }

    #[test]
    fn one_archive_takes_the_place_of_the_others() {
        let top = tempfile::tempdir().expect("a directory");
        let kept = kept(top.path());
        let directory = kept.archives_of("build");
        for (name, text, left) in [
            ("a.zip", "a", "a.zip"),
            ("b.zip", "b", "b.zip"),
            ("c.zip", "", "b.zip"),
        ] {
            let mut file = place(&kept).expect("made");
            file.write_all(text.as_bytes()).expect("written");
            let target = directory.join(name);
            put_in_place(file, &target).expect("put");
            let there = archives(&directory).expect("readable");
            assert_eq!(there, [directory.join(left)]);
        }
        assert_eq!(fs::read_dir(&directory).expect("readable").count(), 1);
        assert!(archives(&top.path().join("none")).expect("none").is_empty());
    }
}
