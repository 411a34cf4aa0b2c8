//! Archives of artifacts of local jobs, on this host: in a store that only the runner writes, and shown in the
//! checkout.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
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

/// Shows an archive in the checkout, in place of those that are shown there.
pub(super) fn show(kept: &Kept, archive: &Path) -> io::Result<()> {
    let directory = kept.shown();
    make_directories(&kept.shown_below(), &directory)?;
    let mut copy = partial::create(&directory)?;
    io::copy(&mut File::open(archive)?, copy.as_file_mut())?;
    // As any file of the user's own.
    copy.as_file()
        .set_permissions(PermissionsExt::from_mode(0o644))?;
    let name = archive.file_name().unwrap_or_default();
    put_in_place(copy, &directory.join(name)).map(|_| ())
}

/// Makes a directory below `root`, no link on the way. What is in `root` is none of git's business.
fn make_directories(root: &Path, directory: &Path) -> io::Result<()> {
    let below = directory.strip_prefix(root).map_err(io::Error::other)?;
    let mut way = root.to_owned();
    let mut parts = below.components();
    loop {
        match fs::create_dir(&way) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                if !fs::symlink_metadata(&way)?.is_dir() {
                    let message = format!("{} is no directory", way.display());
                    return Err(io::Error::other(message));
                }
            }
            made => made?,
        }
        match parts.next() {
            Some(part) => way.push(part),
            None => break,
        }
    }
    match File::create_new(root.join(".gitignore")) {
        Ok(mut file) => file.write_all(b"*\n"),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::{archives, place, put_in_place, show};
    use crate::plan::Kept;
    use std::fs;
    use std::io::Write;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    fn kept(top: &Path) -> Kept {
        Kept {
            checkout: top.join("site"),
            store: top.join("store"),
            label: top.join("store/checkout"),
            job: "build".to_owned(),
            from: Vec::new(),
        }
    }

    #[test]
    fn one_archive_takes_the_place_of_the_others() {
        let top = tempfile::tempdir().expect("a directory");
        let kept = kept(top.path());
        fs::create_dir(&kept.checkout).expect("made");
        let directory = kept.archives_of("build");
        for (name, text, left) in [
            ("a.zip", "a", "a.zip"),
            ("b.zip", "b", "b.zip"),
            ("c.zip", "", "b.zip"),
        ] {
            let mut file = place(&kept).expect("made");
            file.write_all(text.as_bytes()).expect("written");
            let target = directory.join(name);
            if put_in_place(file, &target).expect("put") {
                show(&kept, &target).expect("shown");
            }
            for place in [&directory, &kept.shown()] {
                assert_eq!(archives(place).expect("readable"), [place.join(left)]);
            }
        }
        assert_eq!(fs::read_dir(&directory).expect("readable").count(), 1);
        let ignored = fs::read_to_string(kept.shown_below().join(".gitignore"));
        assert_eq!(ignored.expect("there"), "*\n");
        assert!(archives(&top.path().join("none")).expect("none").is_empty());
    }

    #[test]
    fn nothing_is_written_behind_a_link() {
        let top = tempfile::tempdir().expect("a directory");
        let outside = tempfile::tempdir().expect("a directory");
        let kept = kept(top.path());
        fs::create_dir(&kept.checkout).expect("made");
        symlink(outside.path(), kept.shown_below()).expect("linked");
        let error = show(&kept, Path::new("/dev/null")).expect_err("a link");
        assert!(
            error.to_string().ends_with(".alloy-ci is no directory"),
            "{error}"
        );
        assert_eq!(fs::read_dir(outside.path()).expect("readable").count(), 0);
    }
}
