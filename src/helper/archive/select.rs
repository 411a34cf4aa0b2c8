//! Selects the files of a project that go into an archive.
//!
//! Links are not followed: a link is an entry itself, and nothing behind it is selected.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{FileType, SeekFrom, Stat as Metadata, seek};
use rustix::io::Errno;

use super::limit::Limit;
use super::pattern::Pattern;
use super::tracked::{changed, tracked};
use super::tree::{Tree, Way};
use super::{Entry, Kind, Stat, inside};
use crate::glob::Glob;

/// How many paths a warning names; the rest is counted.
const NAMED: usize = 10;
/// Why a file is left out if the archive would unpack to more than its limit.
const HOLES: &str = "it is sparse, and far longer than what of it is on the disk; pack it with a tool that knows holes";

/// Why a path is left out if it, or its directory, changed while it was read.
const CHANGED: &str = "it changed meanwhile";

/// The selected files.
#[derive(Debug, Default)]
pub struct Selected {
    /// The entries in the order of their paths: a directory before its contents.
    pub entries: Vec<Entry>,
    /// Warnings about patterns that match nothing and entries that are left out.
    pub warnings: Vec<String>,
    /// How many paths were selected and excluded again.
    pub excluded: usize,
}

impl Selected {
    /// Leaves out all but the files, for an archive that can hold nothing else.
    pub fn keep_files(&mut self) {
        for entry in &self.entries {
            if let Kind::Link(_) = entry.kind {
                let path = entry.path.display();
                self.warnings.push(format!(
                    "{path} is left out: only files are sent in this format"
                ));
            }
        }
        self.entries
            .retain(|entry| matches!(entry.kind, Kind::File(_)));
    }

    /// How many files and links there are.
    #[must_use]
    pub fn files(&self) -> usize {
        let is_file = |entry: &&Entry| entry.kind != Kind::Directory;
        self.entries.iter().filter(is_file).count()
    }

    /// How many bytes are in the files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        // A file without blocks (a hole) can have any length.
        let sizes = self.entries.iter().map(Entry::size);
        sizes.fold(0, u64::saturating_add)
    }
}

/// Selects by patterns (`*`, `**`, `?`, `[a-z]`, `{a,b}`; a directory that matches includes its contents) and, with
/// `untracked`, all files that git does not track. The project's own `.git` is only selected by a pattern that begins
/// with that name. The paths that one of `excluded` matches are left out, each by itself: what is in a directory is
/// excluded by `/**` behind its name.
///
/// # Errors
/// If the project, or git's index, cannot be read.
pub fn select(
    tree: &Tree,
    patterns: &[String],
    untracked: bool,
    excluded: &[String],
) -> Result<Selected> {
    let root = tree.path();
    let mut warnings = Vec::new();
    let refused = |text: &str, why: &str| format!("`{text}` is refused: {why}");
    let mut excluding = Vec::new();
    for text in excluded {
        match Pattern::parse(root, text) {
            Ok(pattern) => excluding.push(pattern),
            Err(why) => warnings.push(refused(text, &why)),
        }
    }
    let mut walk = Walk {
        root,
        way: tree.way(),
        excluding,
        excluded: HashSet::new(),
        found: BTreeMap::new(),
        left_out: BTreeMap::new(),
        bytes: 0,
        stored: 0,
    };
    for text in patterns {
        match Pattern::parse(root, text) {
            Ok(pattern) => {
                if !walk.pattern(&pattern)? {
                    warnings.push(format!("nothing matches `{text}`"));
                }
            }
            Err(why) => warnings.push(refused(text, &why)),
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
        excluded: walk.excluded.len(),
    })
}

struct Walk<'a> {
    root: &'a Path,
    way: Way<'a>,
    /// What is not selected, whatever selects it.
    excluding: Vec<Pattern>,
    /// The paths that this was true of.
    excluded: HashSet<PathBuf>,
    found: BTreeMap<PathBuf, Entry>,
    /// The paths that are left out, by reason.
    left_out: BTreeMap<String, Vec<PathBuf>>,
    /// The total length of the selected files, and how much of it is on the disk.
    bytes: u64,
    stored: u64,
}

impl Walk<'_> {
    /// Adds all that a pattern matches, and returns whether it matches anything.
    fn pattern(&mut self, pattern: &Pattern) -> Result<bool> {
        // A link in the path to it is not followed.
        let mut way = PathBuf::new();
        for part in pattern.prefix.components() {
            way.push(part);
            let last = way == pattern.prefix && pattern.matcher.is_none();
            match self.kind(&way)? {
                Some(kind) if last || kind == FileType::Directory => {}
                Some(FileType::Symlink) => {
                    self.leave_out(way, "a link is not followed".to_owned());
                    return Ok(true);
                }
                _ => return Ok(false),
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
                && self.kind(&path)? == Some(FileType::Directory)
            {
                any |= self.search(&path, matcher, depth)?;
            }
        }
        Ok(any)
    }

    /// The sorted contents of a directory, without the project's own `.git`.
    fn children(&mut self, directory: &Path) -> Result<Vec<PathBuf>> {
        let is_root = directory.as_os_str().is_empty();
        let names = match self.way.names(directory) {
            Err(error) if changed(error) && !is_root => {
                self.leave_out(directory.to_owned(), CHANGED.to_owned());
                Vec::new()
            }
            names => names
                .with_context(|| format!("cannot read the directory {}", directory.display()))?,
        };
        let names = names.into_iter();
        let names = names.filter(|name| !(is_root && name == ".git"));
        let mut children: Vec<_> = names.map(|name| directory.join(name)).collect();
        children.sort();
        Ok(children)
    }

    /// The kind and attributes of a path, if it exists.
    fn stat(&mut self, path: &Path) -> Result<Option<Metadata>> {
        match self.way.stat(path) {
            Ok(metadata) => Ok(Some(metadata)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) if changed(error) => {
                self.leave_out(path.to_owned(), CHANGED.to_owned());
                Ok(None)
            }
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    fn kind(&mut self, path: &Path) -> Result<Option<FileType>> {
        let metadata = self.stat(path)?;
        Ok(metadata.map(|metadata| FileType::from_raw_mode(metadata.st_mode)))
    }

    /// Adds a path with all its contents.
    fn add_tree(&mut self, path: &Path) -> Result<bool> {
        let is_root = path.as_os_str().is_empty();
        if !is_root && !self.add(path)? {
            return Ok(false);
        }
        let is_directory = if self.excluded.contains(path) {
            // What is in it has to be excluded by itself.
            self.kind(path)? == Some(FileType::Directory)
        } else {
            let found = self.found.get(path);
            found.is_some_and(|entry| entry.kind == Kind::Directory)
        };
        if is_root || is_directory {
            for child in self.children(path)? {
                self.add_tree(&child)?;
            }
        }
        Ok(true)
    }

    /// Adds a path without its contents, with the directories that it is in. Returns whether it exists.
    fn add(&mut self, path: &Path) -> Result<bool> {
        if self.found.contains_key(path) {
            return Ok(true);
        }
        let Some(metadata) = self.stat(path)? else {
            return Ok(false);
        };
        if self.excluding.iter().any(|pattern| pattern.matches(path)) {
            self.excluded.insert(path.to_owned());
            return Ok(true);
        }
        let kind = match FileType::from_raw_mode(metadata.st_mode) {
            FileType::RegularFile if self.is_stored(path, &metadata) => {
                Ok(Kind::File(length(&metadata)))
            }
            FileType::RegularFile => Err(HOLES.to_owned()),
            FileType::Directory => Ok(Kind::Directory),
            FileType::Symlink => self.link(path)?,
            FileType::Socket => Err("a socket".to_owned()),
            FileType::Fifo => Err("a pipe".to_owned()),
            _ => Err("a device".to_owned()),
        };
        let kind = match kind {
            Ok(kind) => kind,
            Err(why) => {
                self.leave_out(path.to_owned(), why);
                return Ok(true);
            }
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

    /// The target of a link that stays in the project, or why the link is left out.
    fn link(&mut self, path: &Path) -> Result<Result<Kind, String>> {
        let target = match self.way.link(path) {
            Err(error) if changed(error) || error == Errno::INVAL => {
                return Ok(Err(CHANGED.to_owned()));
            }
            target => target.with_context(|| format!("cannot read {}", path.display()))?,
        };
        Ok(inside::link(self.root, path, &target).map(|()| Kind::Link(target)))
    }

    /// Counts a file, unless it would make most of the archive holes: a file without blocks can have any length, and
    /// would be read to its end.
    fn is_stored(&mut self, path: &Path, metadata: &Metadata) -> bool {
        let bytes = self.bytes.saturating_add(length(metadata));
        let fits = |stored: u64| Limit::new(None, stored).check(bytes, 0).is_ok();
        let blocks = u64::try_from(metadata.st_blocks).unwrap_or_default();
        let mut stored = self.stored.saturating_add(blocks.saturating_mul(512));
        if !fits(stored) {
            // Some file systems count blocks only after a delay.
            let file = self.way.file(path).ok().flatten();
            let data = file.and_then(|file| data_of(&file, length(metadata)).ok());
            let data = data.unwrap_or_default();
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

    /// Adds all files that are not in git's index.
    fn untracked(&mut self) -> Result<bool> {
        let tracked =
            tracked(&mut self.way).context("cannot read git's index to tell what is untracked")?;
        self.add_untracked(Path::new(""), &tracked)
    }

    fn add_untracked(&mut self, directory: &Path, tracked: &HashSet<Vec<u8>>) -> Result<bool> {
        let mut any = false;
        for path in self.children(directory)? {
            // A submodule is tracked as a whole. Files of another repository belong to that one.
            if tracked.contains(path.as_os_str().as_bytes())
                || path.file_name().is_some_and(|name| name == ".git")
            {
                continue;
            }
            if self.kind(&path)? == Some(FileType::Directory) {
                any |= self.add_untracked(&path, tracked)?;
            } else {
                any |= self.add(&path)?;
            }
        }
        Ok(any)
    }
}

/// How many bytes of a file are on the disk, which holes are not.
fn data_of(file: &File, length: u64) -> io::Result<u64> {
    let (mut data, mut at) = (0_u64, 0);
    while at < length {
        let begin = match seek(file, SeekFrom::Data(at)) {
            Err(Errno::NXIO) => break,
            begin => begin?,
        };
        at = seek(file, SeekFrom::Hole(begin))?;
        data = data.saturating_add(at.saturating_sub(begin));
    }
    Ok(data)
}

fn length(metadata: &Metadata) -> u64 {
    u64::try_from(metadata.st_size).unwrap_or_default()
}

impl Stat {
    fn of(metadata: &Metadata) -> Self {
        Self {
            mode: metadata.st_mode & 0o777,
            mtime: metadata.st_mtime,
            uid: metadata.st_uid,
            gid: metadata.st_gid,
        }
    }
}

#[cfg(test)]
mod tests;
