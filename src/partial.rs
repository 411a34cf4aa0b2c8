//! Files that are there whole or not at all. What a killed process leaves of one that was not whole yet, the next
//! one that writes beside it removes.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use tempfile::NamedTempFile;

/// What their names begin with.
const PREFIX: &str = ".partial-";

/// A file with mode 0600 that is not whole yet, in the directory where it is to be. It is locked as long as it is
/// open, and goes when it is dropped.
///
/// # Errors
/// If the directory cannot be read or written.
pub fn create(directory: &Path) -> io::Result<NamedTempFile> {
    remove_abandoned(directory)?;
    loop {
        let file = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempfile_in(directory)?;
        match file.as_file().try_lock() {
            // Another process took it for abandoned, before it was locked.
            Err(TryLockError::WouldBlock) => continue,
            // A file system without locks, on which it cannot be told what is abandoned.
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        if is_at(file.as_file(), file.path())? {
            return Ok(file);
        }
    }
}

/// Writes a file of mode 0600, in place of one that is there.
///
/// # Errors
/// If it cannot be written.
pub fn write(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut file = create(path.parent().unwrap_or(Path::new(".")))?;
    file.write_all(contents)?;
    file.persist(path)?;
    Ok(())
}

/// Whether this very file is what the path leads to: a file that was locked by its name may have been removed
/// meanwhile.
///
/// # Errors
/// If the file does not say what it is.
pub fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let own = file.metadata()?.ino();
    Ok(fs::symlink_metadata(path).is_ok_and(|there| there.ino() == own))
}

/// Removes those that no process holds any more.
fn remove_abandoned(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)?.flatten() {
        let partial = entry.file_name().to_string_lossy().starts_with(PREFIX)
            && entry.file_type().is_ok_and(|kind| kind.is_file());
        if !partial {
            continue;
        }
        // One that goes away meanwhile was not abandoned.
        let free = File::open(entry.path()).is_ok_and(|file| {
            file.try_lock()
                .is_ok_and(|()| fs::remove_file(entry.path()).is_ok())
        });
        log::debug!("{}: abandoned: {free}", entry.path().display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::create;
    use std::fs;
    use std::io::Write;

    #[test]
    fn what_the_dead_left_goes_and_what_the_living_write_stays() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join(".partial-dead"), "half").expect("written");
        let mut one = create(directory.path()).expect("made");
        let two = create(directory.path()).expect("made");
        assert_eq!(fs::read_dir(directory.path()).expect("there").count(), 2);
        one.write_all(b"whole").expect("written");
        one.persist(directory.path().join("file")).expect("put");
        drop(two);
        let names = fs::read_dir(directory.path()).expect("there");
        let names: Vec<_> = names.map(|entry| entry.expect("one").file_name()).collect();
        assert_eq!(names, ["file"]);
    }
}
