//! Puts what comes out of an archive below one directory, and nothing anywhere else.
//!
//! Every part of a path is opened by itself and none may be a link, whoever made it. Links are made last, so that
//! nothing in an archive is written behind one of its own.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, chownat, fchmod, fchown,
    futimens, mkdirat, openat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

use super::limit::Limit;
use super::{Stat, inside};

/// How much memory links and directories may take until they are made, in bytes, and what one takes beside its names.
const MOST_LATE: usize = 256 << 20;
const EACH_LATE: usize = 128;

/// A directory that an archive is unpacked to.
pub struct Target {
    path: PathBuf,
    root: OwnedFd,
    limit: Limit,
    bytes: AtomicU64,
    entries: AtomicU64,
    files: AtomicUsize,
    /// Whether owners can be given.
    privileged: bool,
    /// Everything in it is the user's own: see [`Target::own`].
    own: bool,
    late: Mutex<Late>,
}

/// What is done when all files are there.
#[derive(Default)]
struct Late {
    /// How much memory it takes, about.
    size: usize,
    links: Vec<(PathBuf, OsString, Stat)>,
    directories: Vec<(PathBuf, Stat)>,
}

impl Late {
    /// Makes sure that there is room for one more, with names of so many bytes.
    fn takes(&mut self, names: usize) -> Result<()> {
        self.size += names + EACH_LATE;
        if self.size > MOST_LATE {
            bail!(
                "it has more links and directories than fit into {} MB",
                MOST_LATE >> 20
            );
        }
        Ok(())
    }
}

impl Target {
    /// Opens the directory, which is made where it is missing.
    ///
    /// # Errors
    /// If it cannot be made or opened.
    pub fn open(path: &Path, limit: Limit) -> Result<Self> {
        let failed = || format!("cannot open the directory {}", path.display());
        std::fs::create_dir_all(path).with_context(failed)?;
        let root = File::open(path).with_context(failed)?;
        Ok(Self {
            privileged: rustix::process::geteuid().is_root(),
            ..Self::of(root.into(), path, limit)
        })
    }

    /// A directory for the user who calls, as a copy that such a one makes: nothing in it belongs to others, all of it
    /// can be read and removed, and the umask counts. No absolute link leads inside: what was inside where the archive
    /// was made is not so here.
    #[must_use]
    pub fn own(root: OwnedFd, limit: Limit) -> Self {
        Self {
            own: true,
            ..Self::of(root, Path::new(""), limit)
        }
    }

    fn of(root: OwnedFd, path: &Path, limit: Limit) -> Self {
        Self {
            path: path.to_owned(),
            root,
            limit,
            bytes: AtomicU64::new(0),
            entries: AtomicU64::new(0),
            files: AtomicUsize::new(0),
            privileged: false,
            own: false,
            late: Mutex::default(),
        }
    }

    /// How much may be unpacked.
    #[must_use]
    pub fn limit(&self) -> Limit {
        self.limit
    }

    /// Whether a link that leads out is left out, where everywhere else all of its archive is refused.
    #[must_use]
    pub fn leaves_links_out(&self) -> bool {
        self.own
    }

    /// Checks a link's target.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn check_link(&self, path: &Path, target: &OsStr) -> Result<(), String> {
        if self.own && Path::new(target).is_absolute() {
            return Err(inside::leads_out(target));
        }
        inside::link(&self.path, path, target)
    }

    /// A hand to unpack with; every thread has one of its own.
    #[must_use]
    pub fn hand(&self) -> Hand<'_> {
        Hand {
            target: self,
            last: None,
            buffer: Vec::new(),
        }
    }

    /// How many bytes were unpacked so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Makes the links and gives the directories their modes and times. Returns how many files and links are there.
    ///
    /// # Errors
    /// Whatever keeps one of them from being made.
    pub fn finish(self) -> Result<usize> {
        let late = std::mem::take(&mut *self.late.lock().unwrap_or_else(PoisonError::into_inner));
        let mut hand = self.hand();
        for (path, target, stat) in late.links {
            hand.make_link(&path, &target, &stat)
                .with_context(|| format!("cannot make the link {}", path.display()))?;
        }
        let mut directories = late.directories;
        // What is in a directory comes before it: making it changes the directory's time.
        directories.sort_by(|(a, _), (b, _)| b.cmp(a));
        for (path, stat) in directories {
            hand.finish_directory(&path, &stat)
                .with_context(|| format!("cannot set mode and time of {}", path.display()))?;
        }
        Ok(self.files.load(Ordering::Relaxed))
    }

    fn count(&self, bytes: u64, entries: u64) -> Result<()> {
        let bytes = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let entries = self.entries.fetch_add(entries, Ordering::Relaxed) + entries;
        self.limit.check(bytes, entries)
    }

    fn late(&self) -> std::sync::MutexGuard<'_, Late> {
        self.late.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Unpacks one thing after the other.
pub struct Hand<'a> {
    target: &'a Target,
    /// The directory that was used last: what follows is often in it.
    last: Option<(PathBuf, OwnedFd)>,
    buffer: Vec<u8>,
}

impl Hand<'_> {
    /// Writes a file, in place of what is there. `contents` is read to its end.
    ///
    /// # Errors
    /// If the contents cannot be read, the file not be written, a part of its path is a link, or the limit is
    /// reached.
    pub fn file(&mut self, path: &Path, stat: &Stat, contents: &mut dyn Read) -> Result<()> {
        self.target.count(0, 1)?;
        let mut file = self
            .create(path, stat.mode)
            .with_context(|| format!("cannot write {}", path.display()))?;
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(128 * 1024, 0);
        loop {
            let length = match contents.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot unpack {}", path.display()));
                }
            };
            self.target.count(length as u64, 0)?;
            file.write_all(&buffer[..length])
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        self.buffer = buffer;
        self.own(&file, stat)
            .with_context(|| format!("cannot set owner and time of {}", path.display()))?;
        self.target.files.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// If it cannot be made, or a part of its path is a link.
    pub fn directory(&mut self, path: &Path, stat: &Stat) -> Result<()> {
        self.target.count(0, 1)?;
        self.reach(path)
            .with_context(|| format!("cannot make the directory {}", path.display()))?;
        if self.target.own {
            return Ok(());
        }
        let mut late = self.target.late();
        late.takes(path.as_os_str().len())?;
        late.directories.push((path.to_owned(), *stat));
        Ok(())
    }

    /// Notes a link, which is made at the end.
    ///
    /// # Errors
    /// If it leads out of the directory.
    pub fn link(&mut self, path: &Path, target: OsString, stat: &Stat) -> Result<()> {
        self.target.count(0, 1)?;
        let refused = |why: String| anyhow::anyhow!("`{}` is refused: {why}", path.display());
        self.target.check_link(path, &target).map_err(refused)?;
        let mut late = self.target.late();
        late.takes(path.as_os_str().len() + target.len())?;
        late.links.push((path.to_owned(), target, *stat));
        Ok(())
    }

    fn create(&mut self, path: &Path, mode: u32) -> Result<File> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = if self.target.own { mode | 0o600 } else { mode };
        let mode = Mode::from_raw_mode(mode);
        let (parent, name) = self.parent(path)?;
        let file = match openat(parent, name, flags, mode) {
            Err(Errno::EXIST) => {
                // Not written over: it may be open, or have other names.
                unlinkat(parent, name, AtFlags::empty())?;
                openat(parent, name, flags, mode)?
            }
            file => file?,
        };
        Ok(file.into())
    }

    fn make_link(&mut self, path: &Path, target: &OsStr, stat: &Stat) -> Result<()> {
        let privileged = self.target.privileged;
        let (parent, name) = self.parent(path)?;
        match symlinkat(target, parent, name) {
            Err(Errno::EXIST) => {
                unlinkat(parent, name, AtFlags::empty())?;
                symlinkat(target, parent, name)?;
            }
            made => made?,
        }
        if privileged {
            let (user, group) = owner(stat);
            chownat(parent, name, user, group, AtFlags::SYMLINK_NOFOLLOW)?;
        }
        utimensat(parent, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)?;
        self.target.files.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn finish_directory(&mut self, path: &Path, stat: &Stat) -> Result<()> {
        let privileged = self.target.privileged;
        let (parent, name) = self.parent(path)?;
        // A link that took its place later has nothing to do with it.
        let directory = openat(parent, name, DIRECTORY, Mode::empty())?;
        if privileged {
            let (user, group) = owner(stat);
            fchown(&directory, user, group)?;
        }
        fchmod(&directory, Mode::from_raw_mode(stat.mode))?;
        futimens(&directory, &times(stat))?;
        Ok(())
    }

    fn own(&self, file: &File, stat: &Stat) -> Result<()> {
        if self.target.privileged && (stat.uid, stat.gid) != (0, 0) {
            let (user, group) = owner(stat);
            fchown(file, user, group)?;
        }
        futimens(file, &times(stat))?;
        Ok(())
    }

    /// The directory that something is in, and its name there.
    fn parent<'p>(&mut self, path: &'p Path) -> Result<(&OwnedFd, &'p OsStr)> {
        let name = path.file_name().context("it has no name")?;
        let parent = path.parent().unwrap_or(Path::new(""));
        self.reach(parent)?;
        let parent = self
            .last
            .as_ref()
            .map_or(&self.target.root, |(_, directory)| directory);
        Ok((parent, name))
    }

    /// Opens a directory, made where it is missing, and keeps it as the last one.
    fn reach(&mut self, path: &Path) -> Result<()> {
        if self.last.as_ref().map_or(Path::new(""), |(last, _)| last) == path {
            return Ok(());
        }
        let mut way = PathBuf::new();
        let mut reached: Option<OwnedFd> = None;
        for part in path.components() {
            way.push(part);
            let at = reached
                .as_ref()
                .map_or(self.target.root.as_fd(), AsFd::as_fd);
            let name = part.as_os_str();
            let next = match openat(at, name, DIRECTORY, Mode::empty()) {
                Err(Errno::NOENT) => {
                    // It takes as much room as one that the archive names.
                    self.target.count(0, 1)?;
                    match mkdirat(at, name, Mode::from_raw_mode(0o777)) {
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(error) => return Err(error.into()),
                    }
                    openat(at, name, DIRECTORY, Mode::empty())
                }
                next => next,
            };
            reached = Some(match next {
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    bail!(
                        "`{}` is there and no directory, and links are not followed",
                        way.display()
                    )
                }
                next => next?,
            });
        }
        self.last = reached.map(|directory| (way, directory));
        Ok(())
    }
}

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

fn owner(stat: &Stat) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(stat.uid)), Some(Gid::from_raw(stat.gid)))
}

fn times(stat: &Stat) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: stat.mtime,
            tv_nsec: 0,
        },
    }
}

#[cfg(test)]
mod tests;
