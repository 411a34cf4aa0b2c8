//! Writes and restores caches. A problem with a cache is a warning: it does not fail the job.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use rustix::fs::{AtFlags, Mode, OFlags, openat, renameat, unlinkat};
use rustix::io::Errno;
use tempfile::NamedTempFile;

use super::archive::limit::Limit;
use super::archive::select::Selected;
use super::archive::tree::Tree;
use super::archive::unpack::Target;
use super::archive::{frames, unframe};
use super::progress::contents;
use super::task::{Cache, Caches, Place, Within};
use super::transfer::{Address, Client, attempts};

/// The beginning of the name of an incomplete file.
const PARTIAL: &str = ".partial-";
/// An incomplete file that is older than this belongs to a process that was killed.
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

/// Restores caches.
pub fn restore(task: &Caches) {
    for cache in &task.caches {
        let fallbacks = cache.fallbacks.iter();
        let fallbacks = fallbacks.map(|fallback| (&fallback.key, &fallback.place));
        for (key, place) in [(&cache.key, &cache.place)].into_iter().chain(fallbacks) {
            eprintln!("Restoring cache {key}...");
            match restore_one(task, place) {
                Ok(Some((files, bytes))) => {
                    eprintln!("  {}", contents(files, bytes));
                    break;
                }
                Ok(None) => eprintln!("  there is none yet"),
                Err(error) => eprintln!("WARNING: cache {key} is not restored: {error:#}"),
            }
        }
    }
}

fn archive_one(task: &Caches, cache: &Cache) -> Result<()> {
    eprintln!("Creating cache {}...", cache.key);
    let project = task.project.open()?;
    let selected = cache.files.select(&project)?;
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
            let (directory, name) = cut(file)?;
            let directory = directory.make()?;
            remove_abandoned(&directory);
            let partial = Partial::new(&directory)?;
            write(task, &project, &selected, &partial.file)?;
            partial
                .put(&name)
                .with_context(|| format!("cannot put {} in place", file.whole().display()))?;
        }
        Place::Url(url) => {
            let partial =
                NamedTempFile::new().context("cannot write to the temporary directory")?;
            let length = write(task, &project, &selected, partial.as_file())?;
            if let Some(most) = task.most_sent.filter(|most| length > *most) {
                bail!(
                    "its archive has {length} bytes, and no more than {most} are sent \
                     (CACHE_MAX_UPLOADED_ARCHIVE_SIZE of the job, MaxUploadedArchiveSize of the runner)"
                );
            }
            let client = client(task)?;
            attempts(UPLOADS, || {
                client.put(url, &task.upload_headers, partial.reopen()?, length)
            })?;
        }
    }
    eprintln!("  {}", contents(selected.files(), selected.bytes()));
    Ok(())
}

fn client(task: &Caches) -> Result<Client> {
    let limit = task
        .minutes
        .map(|minutes| Duration::from_secs(minutes.saturating_mul(60)));
    Ok(Client::new(&task.certificates, &task.proxies)?.within(limit))
}

/// Writes an archive and returns its length.
fn write(task: &Caches, project: &Tree, selected: &Selected, file: &File) -> Result<u64> {
    let mut out = BufWriter::with_capacity(1 << 20, file);
    for warning in frames::write(task.level, project, &selected.entries, &mut out)? {
        eprintln!("WARNING: {warning}");
    }
    out.flush().context("cannot write the archive")?;
    Ok(file.metadata()?.len())
}

/// The directory that a file is in, and its name there.
fn cut(file: &Within) -> Result<(Within, OsString)> {
    let name = file.path.file_name().context("it has no name")?;
    let directory = Within {
        volume: file.volume.clone(),
        path: file.path.parent().unwrap_or(Path::new("")).to_owned(),
    };
    Ok((directory, name.to_owned()))
}

/// An incomplete file. It is removed when this is dropped.
struct Partial<'t> {
    directory: &'t Tree,
    name: String,
    file: File,
}

impl<'t> Partial<'t> {
    fn new(directory: &'t Tree) -> Result<Self> {
        let name = format!("{PARTIAL}{:016x}", fastrand::u64(..));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = openat(directory.top(), &name, flags, Mode::from_raw_mode(0o600))
            .with_context(|| format!("cannot write in {}", directory.path().display()))?;
        Ok(Self {
            directory,
            name,
            file: file.into(),
        })
    }

    /// Gives the complete file its name, in place of the file that has it.
    fn put(self, name: &OsStr) -> io::Result<()> {
        let top = self.directory.top();
        Ok(renameat(top, &self.name, top, name)?)
    }
}

impl Drop for Partial<'_> {
    fn drop(&mut self) {
        // A complete file has another name by now.
        let removed = unlinkat(self.directory.top(), &self.name, AtFlags::empty());
        if let Err(error) = removed
            && error != Errno::NOENT
        {
            eprintln!("WARNING: cannot remove {}: {error}", self.name);
        }
    }
}

/// Removes incomplete files that killed processes left.
fn remove_abandoned(directory: &Tree) {
    let mut way = directory.way();
    let names = way.names(Path::new("")).unwrap_or_default();
    for name in names {
        if !name.as_bytes().starts_with(PARTIAL.as_bytes()) {
            continue;
        }
        let changed = way.stat(Path::new(&name)).ok().map(|stat| stat.st_mtime);
        let changed = changed.and_then(|seconds| u64::try_from(seconds).ok());
        let changed = changed.map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        let age = changed.and_then(|changed| SystemTime::now().duration_since(changed).ok());
        if age.is_some_and(|age| age > ABANDONED)
            && let Err(error) = unlinkat(directory.top(), &name, AtFlags::empty())
        {
            eprintln!("WARNING: cannot remove {}: {error}", name.display());
        }
    }
}

/// Returns how many files and bytes were restored, or `None` if there is no such cache.
fn restore_one(task: &Caches, place: &Place) -> Result<Option<(usize, u64)>> {
    match place {
        // Jobs may be able to write here, if the configuration mounts a directory or volume for caches.
        Place::File(file) => {
            let shown = file.whole();
            let volume = Tree::open(&file.volume)
                .with_context(|| format!("cannot open {}", file.volume.display()))?;
            match volume.way().file(&file.path) {
                Ok(Some(archive)) => {
                    let length = archive.metadata()?.len();
                    unpack(task, archive, length).map(Some)
                }
                Ok(None) => bail!("{} is no plain file", shown.display()),
                Err(Errno::NOENT) => Ok(None),
                Err(error) => {
                    Err(error).with_context(|| format!("cannot read {}", shown.display()))
                }
            }
        }
        Place::Url(url) => {
            let client = client(task)?;
            attempts(task.attempts, || {
                match client.get(Address::new(url, None)?)? {
                    Some(download) => {
                        unpack(task, download.body, download.length.unwrap_or_default()).map(Some)
                    }
                    None => Ok(None),
                }
            })
        }
    }
}

fn unpack(task: &Caches, archive: impl Read + Send, length: u64) -> Result<(usize, u64)> {
    let target = Target::new(task.project.make()?, Limit::new(task.limit, length));
    unframe::read(archive, &target)?;
    let bytes = target.bytes();
    Ok((target.finish()?, bytes))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::{archive, restore, restore_one};
    use crate::helper::archive::level::Level;
    use crate::helper::task::{Cache, Caches, Fallback, Files, Place, Within};

    fn task(project: Within, caches: Vec<Cache>) -> Caches {
        Caches {
            project,
            caches,
            attempts: 1,
            minutes: None,
            most_sent: None,
            upload_headers: Vec::new(),
            level: Level::Default,
            limit: None,
            certificates: String::new(),
            proxies: Vec::new(),
        }
    }

    #[test]
    fn what_is_no_plain_file_is_no_cache_and_not_waited_for() {
        let root = tempfile::tempdir().expect("a directory");
        let within = |path: &str| Within {
            volume: root.path().to_owned(),
            path: path.into(),
        };
        fs::create_dir(root.path().join("there")).expect("made");
        fs::write(root.path().join("there/file"), "x").expect("written");
        mknodat(CWD, root.path().join("pipe"), FileType::Fifo, Mode::RWXU, 0).expect("made");
        symlink("/etc/passwd", root.path().join("link")).expect("linked");
        symlink("there", root.path().join("way")).expect("linked");
        for path in ["pipe", "link", "there", "way/file"] {
            let task = task(within("project"), Vec::new());
            let error = restore_one(&task, &Place::File(within(path))).expect_err("refused");
            assert!(error.to_string().ends_with("is no plain file"), "{error}");
        }
    }

    #[test]
    fn the_first_fallback_that_is_there_is_restored_and_no_other() {
        let root = tempfile::tempdir().expect("a directory");
        let within = |path: &str| Within {
            volume: root.path().to_owned(),
            path: path.into(),
        };
        let place = |key: &str| Place::File(within(&format!("caches/{key}/cache")));
        let cache = |key: &str, paths: &[&str], fallbacks: &[&str]| Cache {
            key: key.to_owned(),
            files: Files {
                paths: paths.iter().map(|path| (*path).to_owned()).collect(),
                untracked: false,
                exclude: Vec::new(),
            },
            place: place(key),
            fallbacks: fallbacks
                .iter()
                .map(|key| Fallback {
                    key: (*key).to_owned(),
                    place: place(key),
                })
                .collect(),
        };
        let file = |name: &str| root.path().join("project").join(name);
        fs::create_dir(root.path().join("project")).expect("made");
        for name in ["one", "two"] {
            fs::write(file(name), name).expect("written");
            let kept = vec![cache(name, &[name], &[])];
            archive(&task(within("project"), kept));
            fs::remove_file(file(name)).expect("removed");
        }
        let wanted = cache("new", &[], &["none", "one", "two"]);
        restore(&task(within("project"), vec![wanted]));
        assert!(file("one").exists() && !file("two").exists());
    }
}
