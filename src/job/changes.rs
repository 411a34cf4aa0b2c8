//! What is in a working tree and not committed, as a copy beside it. The checkout is only read, and no git is
//! needed.
//!
//! A copy has up to three layers, directories called `0`, `1` and `2`: the checkout's own files, those of its
//! submodules, and those of submodules in there. Each has lists of paths that end with NUL, `removed` and
//! `emptied` (directories of which only `.git` stays), and the `files` that are there instead.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use gix::bstr::BString;
use gix::diff::index::Change as Staged;
use gix::dir::entry::Kind;
use gix::index::entry::Mode;
use gix::status::index_worktree::Item as Unstaged;
use gix::status::plumbing::index_as_worktree::{Change, EntryStatus};
use gix::status::{Item, UntrackedFiles};
use tempfile::TempDir;

use super::own::{self, check_path, is_inside};
use super::plain::open_file;
use super::uncommitted;

/// The last layer: submodules in submodules, however deep.
const LAST: usize = 2;

/// A copy of what is not committed. It goes when this is dropped.
#[derive(Debug)]
pub struct Changes {
    directory: TempDir,
    layers: Vec<Layer>,
}

#[derive(Debug, Default)]
struct Layer {
    /// In their order, so that a directory comes before what is in it.
    removed: BTreeSet<PathBuf>,
    emptied: BTreeSet<PathBuf>,
}

/// What became of a path of the commit or the index.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Gone,
    /// What the working tree has counts.
    Look,
}

impl Changes {
    /// Copies what is not committed in the checkout whose working tree begins at `top`, into a directory in `place`:
    /// modified and new files but not ignored ones. `None` if there is nothing.
    ///
    /// # Errors
    /// If the repository or a file in it cannot be read, or the copy cannot be written.
    pub fn of(top: &Path, place: &Path) -> Result<Option<Self>> {
        let repository = own::open(top)?;
        let mut changes = Self {
            directory: TempDir::with_prefix_in("changes-", place)
                .context("cannot make a directory for what is not committed")?,
            layers: (0..=LAST).map(|_| Layer::default()).collect(),
        };
        changes.add(&repository, Path::new(""), 0)?;
        let is_empty = |layer: &Layer| layer.removed.is_empty() && layer.emptied.is_empty();
        if changes.layers.iter().all(is_empty) {
            return Ok(None);
        }
        changes.write_lists()?;
        Ok(Some(changes))
    }

    /// Where the copy is.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Adds what differs from the commit in a repository that is at `below` in the working tree.
    fn add(&mut self, repository: &gix::Repository, below: &Path, depth: usize) -> Result<()> {
        for (path, state) in states(repository, below)? {
            self.note(repository, below, &path, state, depth)?;
        }
        let index = repository.index_or_empty()?;
        let tree = repository.head_tree()?;
        for entry in index.entries().iter().filter(|e| e.mode == Mode::COMMIT) {
            let path = Path::new(OsStr::from_bytes(entry.path(&index)));
            let recorded = tree
                .lookup_entry_by_path(path)?
                .filter(|entry| entry.mode().is_commit())
                .map(|entry| entry.object_id());
            self.add_submodule(repository, below, path, recorded, depth)?;
        }
        Ok(())
    }

    /// Adds what differs from the commit that the repository around it has `recorded`. Of a submodule at
    /// another commit that is everything.
    fn add_submodule(
        &mut self,
        parent: &gix::Repository,
        below: &Path,
        path: &Path,
        recorded: Option<gix::ObjectId>,
        depth: usize,
    ) -> Result<()> {
        let Some(submodule) = own::submodule(workdir(parent)?, path)? else {
            // The submodule is not fetched here. The job gets what is committed.
            return Ok(());
        };
        let (below, depth) = (below.join(path), (depth + 1).min(LAST));
        let head = submodule.head_id().ok().map(gix::Id::detach);
        if head.is_some() && head == recorded {
            return self.add(&submodule, &below, depth);
        }
        self.layers[depth].emptied.insert(below.clone());
        let index = submodule.index_or_empty()?;
        let mut all: BTreeMap<BString, State> = BTreeMap::new();
        for entry in index.entries() {
            let path = entry.path(&index);
            if entry.mode == Mode::COMMIT {
                let path = Path::new(OsStr::from_bytes(path));
                self.add_submodule(&submodule, &below, path, None, depth)?;
            } else {
                all.insert(path.to_owned(), State::Look);
            }
        }
        if head.is_some() {
            all.extend(states(&submodule, &below)?);
        }
        for (path, state) in all {
            self.note(&submodule, &below, &path, state, depth)?;
        }
        Ok(())
    }

    /// Copies a file, or notes that it is gone.
    fn note(
        &mut self,
        repository: &gix::Repository,
        below: &Path,
        path: &BString,
        state: State,
        depth: usize,
    ) -> Result<()> {
        let path = Path::new(OsStr::from_bytes(path));
        let top = workdir(repository)?;
        check_path(top, path)?;
        let inside = is_inside(top, path);
        let (source, path) = (top.join(path), below.join(path));
        let files = self.directory.path().join(depth.to_string()).join("files");
        self.layers[depth].removed.insert(path.clone());
        // Behind a link there is nothing of the working tree's.
        if state == State::Gone || !inside {
            return Ok(());
        }
        match copy(&source, &files, &path) {
            // It went while we looked.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result.with_context(|| format!("cannot copy {}", source.display())),
        }
    }

    fn write_lists(&self) -> Result<()> {
        for (depth, layer) in self.layers.iter().enumerate() {
            let directory = self.directory.path().join(depth.to_string());
            let list = |name: &str, paths: &BTreeSet<PathBuf>| {
                let mut text = Vec::new();
                for path in paths {
                    text.extend_from_slice(path.as_os_str().as_bytes());
                    text.push(0);
                }
                let file = directory.join(name);
                fs::write(&file, text)?;
                fs::set_permissions(&file, Permissions::from_mode(0o644))
            };
            open_directory(&directory, Path::new("files"))
                .and_then(|()| list("removed", &layer.removed))
                .and_then(|()| list("emptied", &layer.emptied))
                .with_context(|| format!("cannot write {}", directory.display()))?;
        }
        Ok(())
    }
}

fn workdir(repository: &gix::Repository) -> Result<&Path> {
    repository
        .workdir()
        .with_context(|| format!("{} has no working tree", repository.git_dir().display()))
}

/// What git would say of a working tree, by paths in it, submodules aside.
fn states(repository: &gix::Repository, below: &Path) -> Result<BTreeMap<BString, State>> {
    let status = uncommitted::status(repository, UntrackedFiles::Files)?;
    let mut staged = BTreeMap::new();
    let mut unstaged = BTreeMap::new();
    for item in status.into_iter(Vec::new())? {
        match item? {
            Item::TreeIndex(Staged::Deletion { location, .. }) => {
                staged.insert(location.into_owned(), State::Gone);
            }
            Item::TreeIndex(
                Staged::Addition {
                    location,
                    entry_mode,
                    ..
                }
                | Staged::Modification {
                    location,
                    entry_mode,
                    ..
                }
                | Staged::Rewrite {
                    location,
                    entry_mode,
                    ..
                },
            ) => {
                if entry_mode != Mode::COMMIT {
                    staged.insert(location.into_owned(), State::Look);
                }
            }
            Item::IndexWorktree(Unstaged::Modification {
                rela_path, status, ..
            }) => match status {
                EntryStatus::Change(Change::Removed) => {
                    unstaged.insert(rela_path, State::Gone);
                }
                EntryStatus::NeedsUpdate(_)
                | EntryStatus::Change(Change::SubmoduleModification(_)) => {}
                EntryStatus::Change(_)
                | EntryStatus::Conflict { .. }
                | EntryStatus::IntentToAdd => {
                    unstaged.insert(rela_path, State::Look);
                }
            },
            Item::IndexWorktree(Unstaged::DirectoryContents { entry, .. }) => {
                if entry.disk_kind == Some(Kind::Repository) {
                    let path = below.join(OsStr::from_bytes(&entry.rela_path));
                    log::warn!(
                        "{} is a git repository of its own: the jobs do not get it",
                        path.display()
                    );
                } else {
                    unstaged.insert(entry.rela_path, State::Look);
                }
            }
            Item::IndexWorktree(Unstaged::Rewrite { dirwalk_entry, .. }) => {
                unstaged.insert(dirwalk_entry.rela_path, State::Look);
            }
        }
    }
    staged.extend(unstaged);
    Ok(staged)
}

/// Copies a file or a link to a path below `files`; anything else is nothing that git knows. What is executable
/// stays so, everything else of its mode goes, as it does in a commit.
fn copy(source: &Path, files: &Path, path: &Path) -> io::Result<()> {
    let kind = fs::symlink_metadata(source)?.file_type();
    if !kind.is_file() && !kind.is_symlink() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        open_directory(files, parent)?;
    }
    let target = files.join(path);
    if kind.is_symlink() {
        return symlink(fs::read_link(source)?, target);
    }
    let mut from = open_file(source)?;
    let mut to = File::create_new(&target)?;
    io::copy(&mut from, &mut to)?;
    let mode = from.metadata()?.permissions().mode();
    let mode = if mode & 0o100 == 0 { 0o666 } else { 0o777 };
    to.set_permissions(Permissions::from_mode(mode))
}

/// Makes a directory below `top` that everybody may read, whatever the umask.
fn open_directory(top: &Path, path: &Path) -> io::Result<()> {
    fs::create_dir_all(top)?;
    let mut directory = top.to_owned();
    for part in path {
        directory.push(part);
        if !directory.is_dir() {
            fs::create_dir(&directory)?;
            fs::set_permissions(&directory, Permissions::from_mode(0o777))?;
        }
    }
    Ok(())
}
