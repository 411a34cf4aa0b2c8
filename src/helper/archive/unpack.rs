//! Writes the contents of an archive below one directory, and nowhere else.
//!
//! [`Tree`] makes sure that no part of a path is a link. The archive's own links are created last, so that nothing can
//! be written through them.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, chownat, fchmod,
    fchown, fstat, futimens, openat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

use super::limit::Limit;
use super::tree::{DIRECTORY, Tree, Way};
use super::{Stat, inside};

/// How much memory the links and directories that are noted for the end may take, in bytes, and how much each takes in
/// addition to its names.
const MOST_LATE: usize = 256 << 20;
const EACH_LATE: usize = 128;

/// A directory that an archive is unpacked to.
pub struct Target {
    tree: Tree,
    limit: Limit,
    bytes: AtomicU64,
    entries: AtomicU64,
    files: AtomicUsize,
    /// Whether this process may change the owners of files.
    privileged: bool,
    /// Whether all files belong to the calling user: see [`Target::own`].
    own: bool,
    late: Mutex<Late>,
}

/// Links and attributes that are written after all files.
#[derive(Default)]
struct Late {
    /// How much memory this takes, approximately.
    size: usize,
    links: Vec<(PathBuf, OsString, Stat)>,
    directories: Vec<(PathBuf, Stat)>,
}

impl Late {
    /// Counts one more, with names of so many bytes, and checks the limit.
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
    /// Unpacks into a directory of a job.
    #[must_use]
    pub fn new(tree: Tree, limit: Limit) -> Self {
        Self {
            privileged: rustix::process::geteuid().is_root(),
            ..Self::of(tree, limit)
        }
    }

    /// Unpacks into a directory of the calling user, as if this user copied the files: they belong to the user, who can
    /// read and remove all of them, and the umask applies. Absolute links are left out: they were made for another
    /// directory.
    #[must_use]
    pub fn own(root: OwnedFd, limit: Limit) -> Self {
        Self {
            own: true,
            ..Self::of(Tree::of(root, Path::new("")), limit)
        }
    }

    fn of(tree: Tree, limit: Limit) -> Self {
        Self {
            tree,
            limit,
            bytes: AtomicU64::new(0),
            entries: AtomicU64::new(0),
            files: AtomicUsize::new(0),
            privileged: false,
            own: false,
            late: Mutex::default(),
        }
    }

    /// The limit on how much may be unpacked.
    #[must_use]
    pub fn limit(&self) -> Limit {
        self.limit
    }

    /// Whether a link that leads out is left out. Otherwise the whole archive is refused.
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
        inside::link(self.tree.path(), path, target)
    }

    /// An [`Unpacker`] for this directory; every thread needs one of its own.
    #[must_use]
    pub fn unpacker(&self) -> Unpacker<'_> {
        Unpacker {
            target: self,
            way: self.tree.way(),
            buffer: Vec::new(),
        }
    }

    /// How many bytes have been unpacked.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Creates the links, and sets the attributes of directories. Returns the number of files and links.
    ///
    /// # Errors
    /// If one of them cannot be created or set.
    pub fn finish(self) -> Result<usize> {
        let late = std::mem::take(&mut *self.late.lock().unwrap_or_else(PoisonError::into_inner));
        let mut unpacker = self.unpacker();
        for (path, target, stat) in late.links {
            unpacker
                .make_link(&path, &target, &stat)
                .with_context(|| format!("cannot make the link {}", path.display()))?;
        }
        let mut directories = late.directories;
        // The contents of a directory first: creating them changes its time.
        directories.sort_by(|(a, _), (b, _)| b.cmp(a));
        for (path, stat) in directories {
            unpacker
                .finish_directory(&path, &stat)
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

/// Unpacks entries, one after the other.
pub struct Unpacker<'a> {
    target: &'a Target,
    way: Way<'a>,
    buffer: Vec<u8>,
}

impl Unpacker<'_> {
    /// Writes a file, and replaces what is there. `contents` is read to its end.
    ///
    /// # Errors
    /// If the contents cannot be read or written, if a part of the path is a link, or if the limit is reached.
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
    /// If it cannot be created, or a part of its path is a link.
    pub fn directory(&mut self, path: &Path, stat: &Stat) -> Result<()> {
        self.target.count(0, 1)?;
        self.way
            .make(path, || self.target.count(0, 1))
            .with_context(|| format!("cannot make the directory {}", path.display()))?;
        if self.target.own {
            return Ok(());
        }
        let mut late = self.target.late();
        late.takes(path.as_os_str().len())?;
        late.directories.push((path.to_owned(), *stat));
        Ok(())
    }

    /// Notes a link, which is created at the end.
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
        let (parent, name) = self.way.make_parent(path, || self.target.count(0, 1))?;
        let file = match openat(parent, name, flags, mode) {
            Err(Errno::EXIST) => {
                // Replaced, not overwritten: the file may be open, or have other names.
                unlinkat(parent, name, AtFlags::empty())?;
                openat(parent, name, flags, mode)?
            }
            file => file?,
        };
        Ok(file.into())
    }

    fn make_link(&mut self, path: &Path, target: &OsStr, stat: &Stat) -> Result<()> {
        let privileged = self.target.privileged;
        let (parent, name) = self.way.make_parent(path, || self.target.count(0, 1))?;
        match symlinkat(target, parent, name) {
            Err(Errno::EXIST) => {
                unlinkat(parent, name, AtFlags::empty())?;
                symlinkat(target, parent, name)?;
            }
            made => made?,
        }
        if privileged {
            // The attributes of the link itself, even if something has replaced it.
            let link = openat(parent, name, LINK, Mode::empty())?;
            let is_link = FileType::from_raw_mode(fstat(&link)?.st_mode) == FileType::Symlink;
            ensure!(is_link, "something else came in its place");
            let (user, group) = owner(stat);
            chownat(&link, "", user, group, AtFlags::EMPTY_PATH)?;
        }
        utimensat(parent, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)?;
        self.target.files.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn finish_directory(&mut self, path: &Path, stat: &Stat) -> Result<()> {
        let privileged = self.target.privileged;
        let (parent, name) = self.way.make_parent(path, || self.target.count(0, 1))?;
        // A link may have replaced the directory since.
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
}

/// Flags to open a link itself.
const LINK: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

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
