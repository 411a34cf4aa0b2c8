//! What people find in the checkout of a local job's artifacts: its files, and its log beside them.
//!
//! The checkout may be from others, `.alloy-ci` included, and the archive is a job's. So every part of the way is opened
//! by itself and none may be a link, and what is in the way is removed without following one. What comes is written
//! beside its place, under a name of its own, and changes places with what is there when it is whole. What a killed
//! process leaves of it, the next one removes.

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

/// What the names of things that are not whole begin with: no job's does.
const PARTIAL: &str = ".partial-";
/// As the user's umask has it.
const FILE: Mode = Mode::from_raw_mode(0o666);
const ANY: Mode = Mode::from_raw_mode(0o777);

const NEW: OFlags = OFlags::WRONLY
    .union(OFlags::CREATE)
    .union(OFlags::EXCL)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// The directory in a checkout where all that people find is.
pub struct Shown {
    directory: OwnedFd,
}

impl Shown {
    /// Opens the directory of a job's checkout, made where it is missing. What is in it is none of git's business.
    ///
    /// # Errors
    /// If a part of the way to it is no directory, or a link, or nothing can be written there.
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

    /// Unpacks a job's archive in place of what it left before. Returns what is left out of it, and why.
    ///
    /// # Errors
    /// If the archive is refused or damaged, or something cannot be written. What was there is there then.
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

    /// Writes a job's log, in place of the one before.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub fn write_log(&self, log: &mut impl Read, name: &str) -> Result<()> {
        let mut partial = self.partial(|name| openat(&self.directory, name, NEW, FILE))?;
        io::copy(log, &mut partial.file)?;
        partial.put(name)
    }

    /// Makes something that is not whole yet. It is locked as long as it is open.
    fn partial(&self, make: impl Fn(&str) -> rustix::io::Result<OwnedFd>) -> Result<Partial<'_>> {
        self.remove_abandoned()?;
        loop {
            let name = format!("{PARTIAL}{:016x}", fastrand::u64(..));
            let file = match make(&name) {
                Err(Errno::EXIST) => continue,
                opened => File::from(opened.context("cannot write there")?),
            };
            // On a file system without locks, it cannot be told what is abandoned. Else another process may have taken it
            // for that before it was locked.
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

    /// Removes what no living process holds.
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

    /// Removes something, with all that is in it, without following a link.
    ///
    /// Directories in it come up beside it first: so the deepest tree takes no more than two open files.
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

/// Something that is not whole, or what was in its place. It goes when it is dropped.
struct Partial<'a> {
    shown: &'a Shown,
    name: String,
    file: File,
}

impl Partial<'_> {
    /// Puts it in place of what is there, whatever that is.
    fn put(self, name: &str) -> Result<()> {
        let at = &self.shown.directory;
        match renameat_with(at, &self.name, at, name, RenameFlags::EXCHANGE) {
            Err(Errno::NOENT) => renameat(at, &self.name, at, name),
            // A file system that cannot exchange.
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

/// Opens a directory in another one, made where it is missing.
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

/// Whether this very file is what the name leads to.
fn is_at(file: &File, directory: &OwnedFd, name: &str) -> bool {
    let there = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW);
    let own = fstat(file);
    matches!((own, there), (Ok(own), Ok(there)) if (own.st_dev, own.st_ino) == (there.st_dev, there.st_ino))
}

#[cfg(test)]
mod tests;
