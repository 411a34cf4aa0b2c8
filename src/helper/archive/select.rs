//! Which files of a project go into an archive.
//!
//! No link is followed: a link is an entry itself, and nothing behind one is reached.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rustix::fs::{FileType, SeekFrom, Stat as Metadata, seek};
use rustix::io::Errno;

use super::limit::Limit;
use super::pattern::Pattern;
use super::tree::{Tree, Way};
use super::{Entry, Kind, Stat, inside};
use crate::glob::Glob;

/// How many things of one kind are named in warnings; the rest is counted.
const NAMED: usize = 10;
/// Why a file is left out that would unpack to more than an archive may.
const HOLES: &str = "it is sparse, and far longer than what of it is on the disk; pack it with a tool that knows holes";

/// Why something is left out that was a directory, or in one, a moment ago.
const CHANGED: &str = "it changed meanwhile";
/// The longest index of git that is read: some millions of files.
const INDEX: u64 = 256 << 20;
/// What the name of the file begins with in which a split index goes on.
const SHARED: &str = "sharedindex.";

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

/// Selects in a tree by patterns (`*`, `**`, `?`, `[a-z]`, `{a,b}`; what is in a directory that one matches
/// belongs to it) and, with `untracked`, everything that git does not track. The project's own `.git` is only in
/// it where a pattern begins with that name.
///
/// # Errors
/// If the project, or git's index, cannot be read.
pub fn select(tree: &Tree, patterns: &[String], untracked: bool) -> Result<Selected> {
    let root = tree.path();
    let mut walk = Walk {
        root,
        way: tree.way(),
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
    way: Way<'a>,
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

    /// What is in a directory, sorted, without the project's own `.git`.
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

    /// What something is, if it is there.
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
        let Some(metadata) = self.stat(path)? else {
            return Ok(false);
        };
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

    /// A link that stays in the project, or why it is left out.
    fn link(&mut self, path: &Path) -> Result<Result<Kind, String>> {
        let target = match self.way.link(path) {
            Err(error) if changed(error) || error == Errno::INVAL => {
                return Ok(Err(CHANGED.to_owned()));
            }
            target => target.with_context(|| format!("cannot read {}", path.display()))?,
        };
        Ok(inside::link(self.root, path, &target).map(|()| Kind::Link(target)))
    }

    /// Counts a file, unless most of what has been found would be holes then: a file without any block may be as long as
    /// a number can be, and would be read to its end.
    fn is_stored(&mut self, path: &Path, metadata: &Metadata) -> bool {
        let bytes = self.bytes.saturating_add(length(metadata));
        let fits = |stored: u64| Limit::new(None, stored).check(bytes, 0).is_ok();
        let blocks = u64::try_from(metadata.st_blocks).unwrap_or_default();
        let mut stored = self.stored.saturating_add(blocks.saturating_mul(512));
        if !fits(stored) {
            // Some file systems count blocks later than they are written.
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

    /// Adds what git's index does not have.
    fn untracked(&mut self) -> Result<bool> {
        let tracked =
            tracked(&mut self.way).context("cannot read git's index to tell what is untracked")?;
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
            if self.kind(&path)? == Some(FileType::Directory) {
                any |= self.add_untracked(&path, tracked)?;
            } else {
                any |= self.add(&path)?;
            }
        }
        Ok(any)
    }
}

/// The paths in git's index. It is read without git: what a job has left in `.git` leads nothing here.
fn tracked(way: &mut Way) -> Result<HashSet<Vec<u8>>> {
    // A copy, which no job changes while it is read.
    let copy = tempfile::tempdir()?;
    let at = copy.path().join("index");
    let git = Path::new(".git");
    let Some(bytes) = plain(way, &git.join("index"))? else {
        return Ok(HashSet::new());
    };
    fs::write(&at, &bytes)?;
    // A split one goes on in a file that is named by the checksum in it.
    for name in way.names(git)? {
        let checksum = name.to_str().and_then(|name| name.strip_prefix(SHARED));
        let checksum = checksum.and_then(|checksum| hex::decode(checksum).ok());
        if checksum.is_some_and(|checksum| {
            checksum.len() == 20 && memchr::memmem::find(&bytes, &checksum).is_some()
        }) && let Some(shared) = plain(way, &git.join(&name))?
        {
            fs::write(copy.path().join(&name), shared)?;
        }
    }
    let index = gix::index::File::at(
        &at,
        gix::hash::Kind::Sha1,
        false,
        gix::index::decode::Options::default(),
    )?;
    let paths = index
        .entries()
        .iter()
        .map(|entry| entry.path(&index).to_vec());
    Ok(paths.collect())
}

/// What is in a plain file, if there is one.
fn plain(way: &mut Way, path: &Path) -> Result<Option<Vec<u8>>> {
    let file = match way.file(path) {
        Err(error) if changed(error) => None,
        file => file?,
    };
    let Some(file) = file else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    file.take(INDEX + 1).read_to_end(&mut bytes)?;
    ensure!(
        bytes.len() as u64 <= INDEX,
        "{} is longer than {} MB",
        path.display(),
        INDEX >> 20
    );
    Ok(Some(bytes))
}

/// How much of a file is no hole.
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

/// Whether what failed so was there, or a directory, when it was looked at.
fn changed(error: Errno) -> bool {
    matches!(error, Errno::NOENT | Errno::NOTDIR | Errno::LOOP)
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
