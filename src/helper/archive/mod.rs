//! Archives: what goes into them, how they are made, and what may come out of them.
//!
//! Caches are [`frames`], artifacts [`zipped`]. Both keep modes, times, owners, links and empty directories, and names
//! of any encoding.

pub mod frames;
pub mod inside;
pub mod limit;
mod parallel;
mod pattern;
pub mod select;
pub mod tree;
pub mod unframe;
mod units;
pub mod unpack;
pub mod unzip;
mod zip_headers;
pub mod zipped;

use std::ffi::OsString;
use std::path::PathBuf;

/// Something that is in an archive, or is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it is below the project.
    pub path: PathBuf,
    /// What it is.
    pub kind: Kind,
    /// Mode, time and owner.
    pub stat: Stat,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file of this many bytes.
    File(u64),
    /// A directory; what is in it has entries of its own.
    Directory,
    /// A symbolic link and what it says.
    Link(OsString),
}

/// What is kept of an entry beside its contents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// Its permissions, 9 bits.
    pub mode: u32,
    /// When it was changed, in seconds since 1970.
    pub mtime: i64,
    /// Whose it is, by number.
    pub uid: u32,
    /// Which group's.
    pub gid: u32,
}

impl Entry {
    /// How many bytes are in it.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self.kind {
            Kind::File(size) => size,
            Kind::Directory | Kind::Link(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests;
