//! Archives of caches and artifacts: selecting files, writing, and unpacking safely.
//!
//! Caches are written by [`frames`], artifacts by [`zipped`], reports for a coordinator by [`gzipped`]. The first two keep modes, times, owners, links, empty directories,
//! and names in any encoding.

pub mod frames;
pub mod gzipped;
pub mod inside;
pub mod level;
pub mod limit;
mod parallel;
mod pattern;
pub mod select;
mod tracked;
pub mod tree;
pub mod unframe;
mod units;
pub mod unpack;
pub mod unzip;
mod zip_headers;
pub mod zipped;

use std::ffi::OsString;
use std::path::PathBuf;

/// An entry of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its path below the project.
    pub path: PathBuf,
    /// Its kind.
    pub kind: Kind,
    /// Mode, time and owner.
    pub stat: Stat,
}

/// The kind of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file of this many bytes.
    File(u64),
    /// A directory; its contents are entries of their own.
    Directory,
    /// A symbolic link with its target.
    Link(OsString),
}

/// The attributes of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// Its permissions, 9 bits.
    pub mode: u32,
    /// The time of its last change, in seconds since 1970.
    pub mtime: i64,
    /// The number of its user.
    pub uid: u32,
    /// The number of its group.
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
