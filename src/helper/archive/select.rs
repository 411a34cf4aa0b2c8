//! Which files of a project go into an archive.
//!
//! No link is followed: a link is an entry itself, and nothing behind one is reached.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use super::limit::Limit;
use super::pattern::Pattern;
use super::units::open;
use super::{Entry, Kind, Stat, inside};
use crate::glob::Glob;

/// How many things of one kind are named in warnings; the rest is counted.
const NAMED: usize = 10;
/// Why a file is left out that would unpack to more than an archive may.
const HOLES: &str = "it is sparse, and far longer than what of it is on the disk; pack it with a tool that knows holes";

/// What was selected.
#[derive(Debug, Default)]
pub struct Selected {
    /// By their paths: directories before what is in them.
    pub entries: Vec<Entry>,
    /// What was asked for and not found, or is left out.
    pub warnings: Vec<String>,
}

impl Selected {
    /// How many files and links there are.
    #[must_use]
    pub fn files(&self) -> usize {
        let is_file = |entry: &&Entry| entry.kind != Kind::Directory;
        self.entries.iter().filter(is_file).count()
    }

    /// How many bytes are in the files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        // Files without blocks may say any length.
        let sizes = self.entries.iter().map(Entry::size);
        sizes.fold(0, u64::saturating_add)
    }
}

/// Selects below `root` by patterns (`*`, `**`, `?`, `[a-z]`, `{a,b}`; what is in a directory that one matches
/// belongs to it) and, with `untracked`, everything that git does not track. The project's own `.git` is only in
/// it where a pattern begins with that name.
///
/// # Errors
/// If the project, or git's index, cannot be read.
pub fn select(root: &Path, patterns: &[String], untracked: bool) -> Result<Selected> {
    let mut walk = Walk {
        root,
        found: BTreeMap::new(),
        left_out: BTreeMap::new(),
        bytes: 0,
        stored: 0,
    };
    let mut warnings = Vec::new();
    for text in patterns {
        match Pattern::parse(root, text) {
            Ok(pattern) => {
                if !walk.pattern(&pattern)? {
                    warnings.push(format!("nothing matches `{text}`"));
                }
            }
            Err(why) => warnings.push(format!("`{text}` is refused: {why}")),
        }
    }
    if untracked && !walk.untracked()? {
        warnings.push("git tracks every file: there is nothing untracked".to_owned());
    }
    for (why, paths) in &walk.left_out {
        let more = paths.len().saturating_sub(NAMED);
        for path in paths.iter().take(NAMED) {
            warnings.push(format!("{} is left out: {why}", path.display()));
        }
        if more > 0 {
            warnings.push(format!("{more} more are left out: {why}"));
        }
    }
    Ok(Selected {
        entries: walk.found.into_values().collect(),
        warnings,
    })
}

struct Walk<'a> {
    root: &'a Path,
    found: BTreeMap<PathBuf, Entry>,
    /// What is not archived, by the reason.
    left_out: BTreeMap<String, Vec<PathBuf>>,
    /// How many bytes are in the files found, and how many of those on the disk.
    bytes: u64,
    stored: u64,
}

impl Walk<'_> {
    /// Adds what a pattern matches, and returns whether that is anything.
    fn pattern(&mut self, pattern: &Pattern) -> Result<bool> {
        // The way to it: a link on it is not followed.
        let mut way = PathBuf::new();
        for part in pattern.prefix.components() {
            way.push(part);
            let last = way == pattern.prefix && pattern.matcher.is_none();
            match fs::symlink_metadata(self.root.join(&way)) {
                Ok(metadata) if metadata.is_dir() || last => {}
                Ok(metadata) if metadata.is_symlink() => {
                    self.leave_out(way, "a link is not followed".to_owned());
                    return Ok(true);
                }
                Ok(_) => return Ok(false),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot read {}", way.display()));
                }
            }
        }
        let Some(matcher) = &pattern.matcher else {
            return self.add_tree(&pattern.prefix);
        };
        self.search(&pattern.prefix, matcher, pattern.depth)
    }

    fn search(&mut self, directory: &Path, matcher: &Glob, depth: Option<usize>) -> Result<bool> {
        let mut any = false;
        for path in self.children(directory)? {
            if matcher.matches(path.as_os_str().as_bytes()) {
                any |= self.add_tree(&path)?;
            } else if depth.is_none_or(|depth| path.components().count() < depth)
                && fs::symlink_metadata(self.root.join(&path))
                    .is_ok_and(|metadata| metadata.is_dir())
            {
                any |= self.search(&path, matcher, depth)?;
            }
        }
        Ok(any)
    }

    /// What is in a directory, sorted, without the project's own `.git`.
    fn children(&self, directory: &Path) -> Result<Vec<PathBuf>> {
        let failed = || format!("cannot read the directory {}", directory.display());
        let entries = fs::read_dir(self.root.join(directory)).with_context(failed)?;
        let mut children = Vec::new();
        for entry in entries {
            let name = entry.with_context(failed)?.file_name();
            if !(directory.as_os_str().is_empty() && name == ".git") {
                children.push(directory.join(name));
            }
        }
        children.sort();
        Ok(children)
    }

    /// Adds something with all that is in it.
    fn add_tree(&mut self, path: &Path) -> Result<bool> {
        let is_root = path.as_os_str().is_empty();
        if !is_root && !self.add(path)? {
            return Ok(false);
        }
        let is_directory = |entry: &Entry| entry.kind == Kind::Directory;
        if is_root || self.found.get(path).is_some_and(is_directory) {
            for child in self.children(path)? {
                self.add_tree(&child)?;
            }
        }
        Ok(true)
    }

    /// Adds one thing, with the directories that it is in. Returns whether there is anything of this name.
    fn add(&mut self, path: &Path) -> Result<bool> {
        if self.found.contains_key(path) {
            return Ok(true);
        }
        let full = self.root.join(path);
        let metadata = match fs::symlink_metadata(&full) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        let kind = if metadata.is_file() {
            if !self.is_stored(&full, &metadata) {
                self.leave_out(path.to_owned(), HOLES.to_owned());
                return Ok(true);
            }
            Kind::File(metadata.len())
        } else if metadata.is_dir() {
            Kind::Directory
        } else if metadata.is_symlink() {
            let target =
                fs::read_link(&full).with_context(|| format!("cannot read {}", path.display()))?;
            if let Err(why) = inside::link(self.root, path, target.as_os_str()) {
                self.leave_out(path.to_owned(), why);
                return Ok(true);
            }
            Kind::Link(target.into_os_string())
        } else {
            self.leave_out(path.to_owned(), special(&metadata).to_owned());
            return Ok(true);
        };
        if let Some(parent) = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
        {
            self.add(parent)?;
        }
        let entry = Entry {
            path: path.to_owned(),
            kind,
            stat: Stat::of(&metadata),
        };
        self.found.insert(path.to_owned(), entry);
        Ok(true)
    }

    /// Counts a file, unless most of what has been found would be holes then: a file without any block may be as long as
    /// a number can be, and would be read to its end.
    fn is_stored(&mut self, path: &Path, metadata: &Metadata) -> bool {
        let bytes = self.bytes.saturating_add(metadata.len());
        let fits = |stored: u64| Limit::new(None, stored).check(bytes, 0).is_ok();
        let mut stored = self
            .stored
            .saturating_add(metadata.blocks().saturating_mul(512));
        if !fits(stored) {
            // Some file systems count blocks later than they are written.
            let data = data_of(path, metadata.len()).unwrap_or(0);
            stored = stored.max(self.stored.saturating_add(data));
        }
        if fits(stored) {
            (self.bytes, self.stored) = (bytes, stored);
        }
        fits(stored)
    }

    fn leave_out(&mut self, path: PathBuf, why: String) {
        let paths = self.left_out.entry(why).or_default();
        if !paths.contains(&path) {
            paths.push(path);
        }
    }

    /// Adds what git's index does not have.
    fn untracked(&mut self) -> Result<bool> {
        let tracked = tracked(self.root)?;
        self.add_untracked(Path::new(""), &tracked)
    }

    fn add_untracked(&mut self, directory: &Path, tracked: &HashSet<Vec<u8>>) -> Result<bool> {
        let mut any = false;
        for path in self.children(directory)? {
            // A submodule is tracked as a whole; what is in a repository of its own is that one's.
            if tracked.contains(path.as_os_str().as_bytes())
                || path.file_name().is_some_and(|name| name == ".git")
            {
                continue;
            }
            let full = self.root.join(&path);
            if fs::symlink_metadata(&full).is_ok_and(|metadata| metadata.is_dir()) {
                any |= self.add_untracked(&path, tracked)?;
            } else {
                any |= self.add(&path)?;
            }
        }
        Ok(any)
    }
}

/// The paths in git's index. It is read without git: what a job has left in `.git` leads nothing here.
fn tracked(root: &Path) -> Result<HashSet<Vec<u8>>> {
    let file = root.join(".git/index");
    if !file.exists() {
        return Ok(HashSet::new());
    }
    let index = gix::index::File::at(
        &file,
        gix::hash::Kind::Sha1,
        false,
        gix::index::decode::Options::default(),
    )
    .context("cannot read git's index to tell what is untracked")?;
    let paths = index
        .entries()
        .iter()
        .map(|entry| entry.path(&index).to_vec());
    Ok(paths.collect())
}

/// How much of a file is no hole.
fn data_of(path: &Path, length: u64) -> io::Result<u64> {
    let file = open(path)?;
    let (mut data, mut at) = (0_u64, 0);
    while at < length {
        let begin = match seek(&file, SeekFrom::Data(at)) {
            Err(Errno::NXIO) => break,
            begin => begin?,
        };
        at = seek(&file, SeekFrom::Hole(begin))?;
        data = data.saturating_add(at.saturating_sub(begin));
    }
    Ok(data)
}

fn special(metadata: &Metadata) -> &'static str {
    let kind = metadata.file_type();
    if kind.is_socket() {
        "a socket"
    } else if kind.is_fifo() {
        "a pipe"
    } else {
        "a device"
    }
}

impl Stat {
    fn of(metadata: &Metadata) -> Self {
        Self {
            mode: metadata.mode() & 0o777,
            mtime: metadata.mtime(),
            uid: metadata.uid(),
            gid: metadata.gid(),
        }
    }
}

#[cfg(test)]
mod tests;
