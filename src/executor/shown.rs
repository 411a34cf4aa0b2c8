//! Writes the artifacts and the log of a local job into the checkout, for the user: `.alloy-ci/artifacts`.
//!
//! The checkout, with its `.alloy-ci`, may come from others, and the archive comes from a job. So every part of a path
//! is opened by itself and must not be a link, and existing files are removed without following links. New files are
//! written under a temporary name, and are exchanged with the existing ones when they are complete. Temporary files of
//! a process that was killed are removed by the next one.

use std::ffi::{OsStr, OsString};
use std::fs::{File, TryLockError};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, RenameFlags, fstat, mkdirat, openat, renameat, renameat_with,
    statat, unlinkat,
};
use rustix::io::Errno;

use crate::helper::archive::limit::Limit;
use crate::helper::archive::tree::{DIRECTORY, names};
use crate::helper::archive::unpack::Target;
use crate::helper::archive::unzip;
use crate::plan::Kept;

/// The beginning of temporary names. No job has such a name.
const PARTIAL: &str = ".partial-";
/// The modes of new files and directories, from which the user's umask is subtracted.
const FILE: Mode = Mode::from_raw_mode(0o666);
const ANY: Mode = Mode::from_raw_mode(0o777);

/// Flags to create a file that does not exist.
const NEW: OFlags = OFlags::WRONLY
    .union(OFlags::CREATE)
    .union(OFlags::EXCL)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// The directory `.alloy-ci/artifacts` of a checkout.
pub struct Shown {
    directory: OwnedFd,
}

impl Shown {
    /// Opens the directory, and creates it if it is missing, with a `.gitignore` that hides it from git.
    ///
    /// # Errors
    /// If a part of the path is a link or no directory, or if it cannot be written to.
    pub fn open(kept: &Kept) -> Result<Self> {
        let mut path = kept.checkout.clone();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = openat(CWD, &path, flags, Mode::empty())
            .with_context(|| format!("cannot open {}", path.display()))?;
        let [first, second] = Kept::SHOWN_IN;
        let first = reach(&top, first, &mut path)?;
        match openat(&first, ".gitignore", NEW, FILE) {
            Ok(file) => File::from(file).write_all(b"*\n").map_err(Into::into),
            Err(Errno::EXIST) => Ok(()),
            Err(error) => Err(anyhow!(error)),
        }
        .with_context(|| format!("cannot write {}/.gitignore", path.display()))?;
        let directory = reach(&first, second, &mut path)?;
        Ok(Self { directory })
    }

    /// Unpacks a job's archive, in place of the files of its last run. Returns warnings about entries that are left
    /// out.
    ///
    /// # Errors
    /// If the archive is refused or damaged, or a file cannot be written. The files of the last run are kept then.
    pub fn unpack(&self, archive: &Path, name: &str, limit: Option<u64>) -> Result<Vec<String>> {
        let archive =
            File::open(archive).with_context(|| format!("cannot read {}", archive.display()))?;
        let limit = Limit::new(limit, archive.metadata()?.len());
        let partial = self.partial(|name| {
            mkdirat(&self.directory, name, ANY)?;
            openat(&self.directory, name, DIRECTORY, Mode::empty())
        })?;
        let target = Target::own(partial.file.try_clone()?.into(), limit);
        let unpacked = unzip::read(archive, target)?;
        partial.put(name)?;
        Ok(unpacked.left_out)
    }

    /// Writes a job's log, in place of that of its last run.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub fn write_log(&self, log: &mut impl Read, name: &str) -> Result<()> {
        let mut partial = self.partial(|name| openat(&self.directory, name, NEW, FILE))?;
        io::copy(log, &mut partial.file)?;
        partial.put(name)
    }

    /// Creates a temporary file or directory with `make`. It is locked as long as it is open.
    fn partial(&self, make: impl Fn(&str) -> rustix::io::Result<OwnedFd>) -> Result<Partial<'_>> {
        self.remove_abandoned()?;
        loop {
            let name = format!("{PARTIAL}{:016x}", fastrand::u64(..));
            let file = match make(&name) {
                Err(Errno::EXIST) => continue,
                opened => File::from(opened.context("cannot write there")?),
            };
            // Before it was locked, another process may have taken it for abandoned and removed it. On a file system
            // without locks, it is used without one.
            let lost = matches!(file.try_lock(), Err(TryLockError::WouldBlock))
                || !is_at(&file, &self.directory, &name);
            if !lost {
                return Ok(Partial {
                    shown: self,
                    name,
                    file,
                });
            }
        }
    }

    /// Removes temporary files that no running process has locked.
    fn remove_abandoned(&self) -> Result<()> {
        for name in names(self.directory.as_fd())? {
            if !name.as_bytes().starts_with(PARTIAL.as_bytes()) {
                continue;
            }
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let open = openat(&self.directory, &name, flags, Mode::empty()).map(File::from);
            let held =
                open.is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)));
            if !held {
                self.remove(&name)?;
            }
        }
        Ok(())
    }

    /// Removes a file or a directory with its contents, without following links.
    ///
    /// Inner directories are moved up to this directory first, so that even the deepest tree needs only two open files.
    fn remove(&self, name: &OsStr) -> Result<()> {
        let failed = || {
            format!(
                "cannot remove {}/{}",
                Kept::SHOWN_IN.join("/"),
                name.display()
            )
        };
        let at = &self.directory;
        let mut open = vec![name.to_owned()];
        while let Some(name) = open.pop() {
            match unlinkat(at, &name, AtFlags::empty()) {
                Err(Errno::ISDIR | Errno::PERM) => {}
                Ok(()) | Err(Errno::NOENT) => continue,
                Err(error) => return Err(error).with_context(failed),
            }
            let directory = match openat(at, &name, DIRECTORY, Mode::empty()) {
                Err(Errno::NOENT) => continue,
                directory => directory.with_context(failed)?,
            };
            for inner in names(directory.as_fd()).with_context(failed)? {
                match unlinkat(&directory, &inner, AtFlags::empty()) {
                    Err(Errno::ISDIR | Errno::PERM) => {
                        let up = format!("{PARTIAL}{:016x}", fastrand::u64(..));
                        renameat(&directory, &inner, at, &up).with_context(failed)?;
                        open.push(OsString::from(up));
                    }
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(error) => return Err(error).with_context(failed),
                }
            }
            match unlinkat(at, &name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(error).with_context(failed),
            }
        }
        Ok(())
    }
}

/// A temporary file or directory; after [`Partial::put`], the one that it replaced. It is removed when this is dropped.
struct Partial<'a> {
    shown: &'a Shown,
    name: String,
    file: File,
}

impl Partial<'_> {
    /// Exchanges it with the file or directory of this name, if there is one.
    fn put(self, name: &str) -> Result<()> {
        let at = &self.shown.directory;
        match renameat_with(at, &self.name, at, name, RenameFlags::EXCHANGE) {
            Err(Errno::NOENT) => renameat(at, &self.name, at, name),
            // The file system cannot exchange two names.
            Err(Errno::INVAL | Errno::NOSYS) => {
                let old = format!("{PARTIAL}{:016x}", fastrand::u64(..));
                renameat(at, name, at, &old)
                    .and_then(|()| renameat(at, &self.name, at, name))
                    .and_then(|()| renameat(at, &old, at, &self.name))
            }
            exchanged => exchanged,
        }
        .with_context(|| format!("cannot put {name} in its place"))
    }
}

impl Drop for Partial<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.shown.remove(self.name.as_ref()) {
            log::warn!("{error:#}");
        }
    }
}

/// Opens a directory in another one, and creates it if it is missing.
fn reach(at: &OwnedFd, name: &str, path: &mut PathBuf) -> Result<OwnedFd> {
    path.push(name);
    match mkdirat(at, name, ANY) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => {
            return Err(error).with_context(|| format!("cannot make {}", path.display()));
        }
    }
    match openat(at, name, DIRECTORY, Mode::empty()) {
        Err(Errno::NOTDIR | Errno::LOOP) => Err(anyhow!("{} is no directory", path.display())),
        directory => directory.with_context(|| format!("cannot open {}", path.display())),
    }
}

/// Whether the name still leads to this open file.
fn is_at(file: &File, directory: &OwnedFd, name: &str) -> bool {
    let there = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW);
    let own = fstat(file);
    matches!((own, there), (Ok(own), Ok(there)) if (own.st_dev, own.st_ino) == (there.st_dev, there.st_ino))
}

#[cfg(test)]
mod tests;
