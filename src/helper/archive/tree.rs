//! Opens what is in a directory that others change meanwhile, and follows no link on the way, of whatever origin.
//!
//! The kernel does that in one call (`openat2`). Where it does not know that call, or a container's seccomp profile
//! refuses it, each part of the way is opened by itself.

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

/// A directory, and no link to one.
pub const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
/// A pipe is not waited for.
const FILE: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);
const BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS);

/// A directory with all that is below it.
pub struct Tree {
    path: PathBuf,
    top: OwnedFd,
    /// There is no `openat2`.
    by_parts: AtomicBool,
}

impl Tree {
    /// Opens a directory whose own path is trusted: links on it are followed.
    ///
    /// # Errors
    /// If there is none, or it cannot be read.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        Ok(Self::of(File::open(path)?.into(), path))
    }

    /// A directory that is open. `path` is what links in it call it.
    #[must_use]
    pub fn of(top: OwnedFd, path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            top,
            by_parts: AtomicBool::new(false),
        }
    }

    /// The tree that begins at one of its directories.
    ///
    /// # Errors
    /// If there is none, or a part of the way to it is a link.
    pub fn below(&self, path: &Path) -> rustix::io::Result<Self> {
        let top = self.directory(path)?;
        Ok(self.at(top, path))
    }

    /// As [`Tree::below`], where what is missing is made.
    ///
    /// # Errors
    /// If it cannot be made, or a part of the way to it is a link.
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

    /// As on a kernel without `openat2`.
    #[cfg(test)]
    pub(super) fn by_parts(self) -> Self {
        self.by_parts.store(true, Ordering::Relaxed);
        self
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its directory.
    #[must_use]
    pub fn top(&self) -> BorrowedFd<'_> {
        self.top.as_fd()
    }

    /// A way into it; every thread has one of its own.
    #[must_use]
    pub fn way(&self) -> Way<'_> {
        Way {
            tree: self,
            last: None,
        }
    }

    /// Opens a directory in it. No `..` is in its path.
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
                // Not known to the kernel, or to the profile of a container, which may refuse what it does not know.
                Err(Errno::NOSYS | Errno::PERM) => self.by_parts.store(true, Ordering::Relaxed),
                opened => return opened,
            }
        }
        self.walk(path, |_, _| Err(Errno::NOENT))
            .map_err(|(_, error)| error)
    }

    /// Opens a directory in it, made where it is missing. `count` is asked before each one.
    fn make(&self, path: &Path, mut count: impl FnMut() -> Result<()>) -> Result<OwnedFd> {
        match self.directory(path) {
            // The walk says which part it is.
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

    /// Opens a directory part by part; none of them may be `..`. `missing` opens what is not there.
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

/// Opens one thing after the other in a tree.
pub struct Way<'t> {
    tree: &'t Tree,
    /// The directory that was used last: what follows is often in it.
    last: Option<(PathBuf, OwnedFd)>,
}

impl Way<'_> {
    /// What is in a directory, by name, in no order.
    ///
    /// # Errors
    /// If it cannot be read, or a part of the way to it is a link.
    pub fn names(&mut self, path: &Path) -> rustix::io::Result<Vec<OsString>> {
        names(self.directory(path)?)
    }

    /// What something is; a link is one.
    ///
    /// # Errors
    /// If there is no such thing, or a part of the way to it is a link.
    pub fn stat(&mut self, path: &Path) -> rustix::io::Result<Stat> {
        let (parent, name) = self.parent(path)?;
        statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// What a link says.
    ///
    /// # Errors
    /// If it is none any more, or a part of the way to it is one.
    pub fn link(&mut self, path: &Path) -> rustix::io::Result<OsString> {
        let (parent, name) = self.parent(path)?;
        let target = readlinkat(parent, name, Vec::new())?;
        Ok(OsString::from_vec(target.into_bytes()))
    }

    /// Opens a file to read it; `None` where something that is no file is in its place.
    ///
    /// # Errors
    /// If there is nothing, or it cannot be read.
    pub fn file(&mut self, path: &Path) -> rustix::io::Result<Option<File>> {
        let opened = self
            .parent(path)
            .and_then(|(parent, name)| openat(parent, name, FILE, Mode::empty()));
        let file = match opened {
            // A link, one on the way to it, a socket or a device that nothing stands behind.
            Err(Errno::LOOP | Errno::NOTDIR | Errno::NXIO | Errno::NODEV) => return Ok(None),
            opened => opened?,
        };
        let kind = FileType::from_raw_mode(fstat(&file)?.st_mode);
        Ok((kind == FileType::RegularFile).then(|| file.into()))
    }

    /// Opens a directory, and keeps it as the last one.
    fn directory(&mut self, path: &Path) -> rustix::io::Result<BorrowedFd<'_>> {
        if self.at() != path {
            self.last = None;
            if !path.as_os_str().is_empty() {
                self.last = Some((path.to_owned(), self.tree.directory(path)?));
            }
        }
        Ok(self.here())
    }

    /// The directory that something is in, and its name there.
    ///
    /// # Errors
    /// If there is no such directory, or a part of the way to it is a link.
    pub fn parent<'p>(
        &mut self,
        path: &'p Path,
    ) -> rustix::io::Result<(BorrowedFd<'_>, &'p OsStr)> {
        let (parent, name) = cut(path).ok_or(Errno::INVAL)?;
        Ok((self.directory(parent)?, name))
    }

    /// As [`Way::parent`], where what is missing on the way is made. `count` is asked before each directory.
    ///
    /// # Errors
    /// If a part of the way is a link, or cannot be made.
    pub fn make_parent<'p>(
        &mut self,
        path: &'p Path,
        count: impl FnMut() -> Result<()>,
    ) -> Result<(BorrowedFd<'_>, &'p OsStr)> {
        let (parent, name) = cut(path).context("it has no name")?;
        self.make(parent, count)?;
        Ok((self.here(), name))
    }

    /// Makes a directory where it is missing, as [`Way::make_parent`] does.
    ///
    /// # Errors
    /// As there.
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

/// What is in an open directory, by name, in no order.
///
/// # Errors
/// If it cannot be read.
pub fn names(directory: BorrowedFd) -> rustix::io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    // Opened anew: where the reading is, is the same for all who use one.
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name != "." && name != ".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// The directory that something is in, and its name there.
fn cut(path: &Path) -> Option<(&Path, &OsStr)> {
    Some((path.parent()?, path.file_name()?))
}

#[cfg(test)]
mod tests;
