//! Opens files below a directory without following links, while other processes may change the directory.
//!
//! The kernel does that in one call (`openat2`). If it does not have this call, or a seccomp profile refuses it, each
//! part of the path is opened by itself.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};
use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, mkdirat, openat, openat2,
    readlinkat, statat,
};
use rustix::io::Errno;

/// Flags to open a directory, but no link to one.
pub const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
/// Flags to open a file for reading, without waiting if it is a pipe.
const FILE: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);
const BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS);

/// An open directory, below which paths are opened.
pub struct Tree {
    path: PathBuf,
    top: OwnedFd,
    /// Whether `openat2` is not available.
    by_parts: AtomicBool,
}

impl Tree {
    /// Opens a directory by a path that is trusted: links in it are followed.
    ///
    /// # Errors
    /// If there is none, or it cannot be read.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        Ok(Self::of(File::open(path)?.into(), path))
    }

    /// Uses a directory that is open. `path` is the path that links in it use for it.
    #[must_use]
    pub fn of(top: OwnedFd, path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            top,
            by_parts: AtomicBool::new(false),
        }
    }

    /// Opens a directory below this one as a tree of its own.
    ///
    /// # Errors
    /// If there is no such directory, or a part of the path is a link.
    pub fn below(&self, path: &Path) -> rustix::io::Result<Self> {
        let top = self.directory(path)?;
        Ok(self.at(top, path))
    }

    /// The same as [`Tree::below`], but creates missing directories.
    ///
    /// # Errors
    /// If one cannot be created, or a part of the path is a link.
    pub fn make_below(&self, path: &Path) -> Result<Self> {
        let top = self.make(path, || Ok(()))?;
        Ok(self.at(top, path))
    }

    fn at(&self, top: OwnedFd, path: &Path) -> Self {
        Self {
            path: self.path.join(path),
            top,
            by_parts: AtomicBool::new(self.by_parts.load(Ordering::Relaxed)),
        }
    }

    /// The same tree as on a kernel without `openat2`.
    #[cfg(test)]
    pub(super) fn by_parts(self) -> Self {
        self.by_parts.store(true, Ordering::Relaxed);
        self
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The open directory.
    #[must_use]
    pub fn top(&self) -> BorrowedFd<'_> {
        self.top.as_fd()
    }

    /// A [`Way`] to open paths with; every thread needs one of its own.
    #[must_use]
    pub fn way(&self) -> Way<'_> {
        Way {
            tree: self,
            last: None,
        }
    }

    /// Opens a directory below. Its path has no `..`.
    fn directory(&self, path: &Path) -> rustix::io::Result<OwnedFd> {
        let below = |part| matches!(part, Component::Normal(_) | Component::CurDir);
        if !path.components().all(below) {
            return Err(Errno::XDEV);
        }
        let whole = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        if !self.by_parts.load(Ordering::Relaxed) {
            match openat2(&self.top, whole, DIRECTORY, Mode::empty(), BENEATH) {
                // The kernel does not have the call, or a container's profile that does not know it refuses it.
                Err(Errno::NOSYS | Errno::PERM) => self.by_parts.store(true, Ordering::Relaxed),
                opened => return opened,
            }
        }
        self.walk(path, |_, _| Err(Errno::NOENT))
            .map_err(|(_, error)| error)
    }

    /// Opens a directory below, and creates what is missing. `count` is called before each creation, and can refuse it.
    fn make(&self, path: &Path, mut count: impl FnMut() -> Result<()>) -> Result<OwnedFd> {
        match self.directory(path) {
            // The walk part by part finds out which part fails.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
            opened => return Ok(opened?),
        }
        let mut refused = None;
        let made = self.walk(path, |at, name| {
            if let Err(error) = count() {
                refused = Some(error);
                return Err(Errno::NOENT);
            }
            match mkdirat(at, name, Mode::from_raw_mode(0o777)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error),
            }
            openat(at, name, DIRECTORY, Mode::empty())
        });
        match (made, refused) {
            (Ok(made), _) => Ok(made),
            (_, Some(refused)) => Err(refused),
            (Err((way, Errno::NOTDIR | Errno::LOOP)), _) => bail!(
                "`{}` is there and no directory, and links are not followed",
                way.display()
            ),
            (Err((_, error)), _) => Err(error.into()),
        }
    }

    /// Opens a directory part by part; no part may be `..`. `missing` opens parts that do not exist.
    fn walk(
        &self,
        path: &Path,
        mut missing: impl FnMut(BorrowedFd, &OsStr) -> rustix::io::Result<OwnedFd>,
    ) -> Result<OwnedFd, (PathBuf, Errno)> {
        let mut way = PathBuf::new();
        let own = openat(&self.top, ".", DIRECTORY, Mode::empty());
        let mut reached = own.map_err(|error| (way.clone(), error))?;
        for part in path.components() {
            way.push(part);
            let name = part.as_os_str();
            let next = match openat(&reached, name, DIRECTORY, Mode::empty()) {
                Err(Errno::NOENT) => missing(reached.as_fd(), name),
                next => next,
            };
            reached = next.map_err(|error| (way.clone(), error))?;
        }
        Ok(reached)
    }
}

/// Opens paths in a tree, one after the other.
pub struct Way<'t> {
    tree: &'t Tree,
    /// The directory that was used last: the next path is often in it, too.
    last: Option<(PathBuf, OwnedFd)>,
}

impl Way<'_> {
    /// The names in a directory, in no order.
    ///
    /// # Errors
    /// If it cannot be read, or a part of the path is a link.
    pub fn names(&mut self, path: &Path) -> rustix::io::Result<Vec<OsString>> {
        names(self.directory(path)?)
    }

    /// The kind and attributes of a path. A link is not followed.
    ///
    /// # Errors
    /// If it does not exist, or a part of the path to it is a link.
    pub fn stat(&mut self, path: &Path) -> rustix::io::Result<Stat> {
        let (parent, name) = self.parent(path)?;
        statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// The target of a link.
    ///
    /// # Errors
    /// If it is no link, or a part of the path to it is one.
    pub fn link(&mut self, path: &Path) -> rustix::io::Result<OsString> {
        let (parent, name) = self.parent(path)?;
        let target = readlinkat(parent, name, Vec::new())?;
        Ok(OsString::from_vec(target.into_bytes()))
    }

    /// Opens a plain file to read it; `None` if the path is something else.
    ///
    /// # Errors
    /// If it does not exist, or cannot be read.
    pub fn file(&mut self, path: &Path) -> rustix::io::Result<Option<File>> {
        let opened = self
            .parent(path)
            .and_then(|(parent, name)| openat(parent, name, FILE, Mode::empty()));
        let file = match opened {
            // A link, a link in the path to it, a socket, or a device without a driver.
            Err(Errno::LOOP | Errno::NOTDIR | Errno::NXIO | Errno::NODEV) => return Ok(None),
            opened => opened?,
        };
        let kind = FileType::from_raw_mode(fstat(&file)?.st_mode);
        Ok((kind == FileType::RegularFile).then(|| file.into()))
    }

    /// Opens a directory, and remembers it as the last one.
    fn directory(&mut self, path: &Path) -> rustix::io::Result<BorrowedFd<'_>> {
        if self.at() != path {
            self.last = None;
            if !path.as_os_str().is_empty() {
                self.last = Some((path.to_owned(), self.tree.directory(path)?));
            }
        }
        Ok(self.here())
    }

    /// Opens the directory of a path. Returns it with the last part of the path.
    ///
    /// # Errors
    /// If there is no such directory, or a part of the path to it is a link.
    pub fn parent<'p>(
        &mut self,
        path: &'p Path,
    ) -> rustix::io::Result<(BorrowedFd<'_>, &'p OsStr)> {
        let (parent, name) = cut(path).ok_or(Errno::INVAL)?;
        Ok((self.directory(parent)?, name))
    }

    /// The same as [`Way::parent`], but creates missing directories. `count` is called before each creation, and can
    /// refuse it.
    ///
    /// # Errors
    /// If a part of the path is a link, or cannot be created.
    pub fn make_parent<'p>(
        &mut self,
        path: &'p Path,
        count: impl FnMut() -> Result<()>,
    ) -> Result<(BorrowedFd<'_>, &'p OsStr)> {
        let (parent, name) = cut(path).context("it has no name")?;
        self.make(parent, count)?;
        Ok((self.here(), name))
    }

    /// Creates a directory if it is missing, as [`Way::make_parent`] does.
    ///
    /// # Errors
    /// The same.
    pub fn make(&mut self, path: &Path, count: impl FnMut() -> Result<()>) -> Result<()> {
        if self.at() != path {
            self.last = None;
            if !path.as_os_str().is_empty() {
                self.last = Some((path.to_owned(), self.tree.make(path, count)?));
            }
        }
        Ok(())
    }

    fn at(&self) -> &Path {
        self.last.as_ref().map_or(Path::new(""), |(last, _)| last)
    }

    fn here(&self) -> BorrowedFd<'_> {
        let last = self.last.as_ref();
        last.map_or(self.tree.top(), |(_, directory)| directory.as_fd())
    }
}

/// The names in an open directory, in no order.
///
/// # Errors
/// If it cannot be read.
pub fn names(directory: BorrowedFd) -> rustix::io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    // Opened again: all users of one descriptor share its read position.
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name != "." && name != ".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// Splits a path into its directory and its last part.
fn cut(path: &Path) -> Option<(&Path, &OsStr)> {
    Some((path.parent()?, path.file_name()?))
}

#[cfg(test)]
mod tests;
