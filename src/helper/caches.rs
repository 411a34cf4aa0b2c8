//! Keeps caches, and brings them back. Nothing that goes wrong with one is worth a job: it costs a warning.

use std::fs;
use std::io::{BufWriter, ErrorKind, Read, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use tempfile::NamedTempFile;

use super::archive::limit::Limit;
use super::archive::select::{Selected, select};
use super::archive::unpack::Target;
use super::archive::{frames, open, unframe};
use super::progress::contents;
use super::task::{Cache, Caches, Place};
use super::transfer::{Client, attempts};

/// What a file is called that is not whole yet.
const PARTIAL: &str = ".partial-";
/// Nobody writes on one for so long.
const ABANDONED: Duration = Duration::from_hours(24);
/// How often an upload is tried.
const UPLOADS: u32 = 3;

/// Writes caches.
pub fn archive(task: &Caches) {
    for cache in &task.caches {
        if let Err(error) = archive_one(task, cache) {
            eprintln!("WARNING: cache {} is not kept: {error:#}", cache.key);
        }
    }
}

/// Brings caches back.
pub fn restore(task: &Caches) {
    for cache in &task.caches {
        eprintln!("Restoring cache {}...", cache.key);
        match restore_one(task, cache) {
            Ok(Some((files, bytes))) => eprintln!("  {}", contents(files, bytes)),
            Ok(None) => eprintln!("  there is none yet"),
            Err(error) => eprintln!("WARNING: cache {} is not restored: {error:#}", cache.key),
        }
    }
}

fn archive_one(task: &Caches, cache: &Cache) -> Result<()> {
    eprintln!("Creating cache {}...", cache.key);
    let selected = select(&task.project, &cache.files.paths, cache.files.untracked)?;
    for warning in &selected.warnings {
        eprintln!("WARNING: {warning}");
    }
    if selected.entries.is_empty() {
        eprintln!(
            "WARNING: cache {} is not kept: there is nothing to keep",
            cache.key
        );
        return Ok(());
    }
    match &cache.place {
        Place::File(file) => {
            let directory = file.parent().context("it has no directory")?;
            fs::create_dir_all(directory)
                .with_context(|| format!("cannot make {}", directory.display()))?;
            remove_abandoned(directory);
            let partial = tempfile::Builder::new()
                .prefix(PARTIAL)
                .tempfile_in(directory);
            let partial =
                partial.with_context(|| format!("cannot write in {}", directory.display()))?;
            write(task, &selected, &partial)?;
            partial
                .persist(file)
                .with_context(|| format!("cannot put {} in place", file.display()))?;
        }
        Place::Url(url) => {
            let partial =
                NamedTempFile::new().context("cannot write to the temporary directory")?;
            let length = write(task, &selected, &partial)?;
            let client = Client::new(&task.certificates)?;
            attempts(UPLOADS, || client.put(url, partial.reopen()?, length))?;
        }
    }
    eprintln!("  {}", contents(selected.files(), selected.bytes()));
    Ok(())
}

/// Writes an archive and returns its length.
fn write(task: &Caches, selected: &Selected, file: &NamedTempFile) -> Result<u64> {
    let mut out = BufWriter::with_capacity(1 << 20, file.as_file());
    for warning in frames::write(&task.project, &selected.entries, &mut out)? {
        eprintln!("WARNING: {warning}");
    }
    out.flush().context("cannot write the archive")?;
    Ok(file.as_file().metadata()?.len())
}

/// Removes what was left by somebody who was killed.
fn remove_abandoned(directory: &Path) {
    let is_abandoned = |entry: &fs::DirEntry| {
        let partial = entry.file_name().to_string_lossy().starts_with(PARTIAL);
        let changed = entry.metadata().and_then(|metadata| metadata.modified());
        let age = changed.map(|changed| {
            SystemTime::now()
                .duration_since(changed)
                .unwrap_or_default()
        });
        partial && age.is_ok_and(|age| age > ABANDONED)
    };
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if is_abandoned(&entry)
            && let Err(error) = fs::remove_file(entry.path())
        {
            eprintln!("WARNING: cannot remove {}: {error}", entry.path().display());
        }
    }
}

/// Returns how many files and bytes came back, or nothing where there is no such cache.
fn restore_one(task: &Caches, cache: &Cache) -> Result<Option<(usize, u64)>> {
    match &cache.place {
        // Where the operator chose the place, jobs may write there.
        Place::File(file) => match open(file) {
            Ok(archive) => {
                let metadata = archive.metadata()?;
                ensure!(metadata.is_file(), "{} is no plain file", file.display());
                unpack(task, archive, metadata.len()).map(Some)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
        },
        Place::Url(url) => {
            let client = Client::new(&task.certificates)?;
            attempts(task.attempts, || match client.get(url, None)? {
                Some(download) => {
                    unpack(task, download.body, download.length.unwrap_or_default()).map(Some)
                }
                None => Ok(None),
            })
        }
    }
}

fn unpack(task: &Caches, archive: impl Read + Send, length: u64) -> Result<(usize, u64)> {
    let target = Target::open(&task.project, Limit::new(task.limit, length))?;
    unframe::read(archive, &target)?;
    let bytes = target.bytes();
    Ok((target.finish()?, bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::restore_one;
    use crate::helper::task::{Cache, Caches, Files, Place};

    #[test]
    fn what_is_no_plain_file_is_no_cache_and_not_waited_for() {
        let root = tempfile::tempdir().expect("a directory");
        let [pipe, link] = ["pipe", "link"].map(|name| root.path().join(name));
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RWXU, 0).expect("made");
        symlink("/etc/passwd", &link).expect("linked");
        for file in [pipe, link, root.path().to_owned()] {
            let cache = Cache {
                key: "x".to_owned(),
                files: Files {
                    paths: Vec::new(),
                    untracked: false,
                },
                place: Place::File(file),
            };
            let task = Caches {
                project: root.path().join("project"),
                caches: Vec::new(),
                attempts: 1,
                limit: None,
                certificates: String::new(),
            };
            restore_one(&task, &cache).expect_err("refused");
        }
    }
}
