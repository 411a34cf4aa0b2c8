//! What is in a working tree that no commit has: for a word about it, before jobs run without it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::Result;
use gix::dir::entry::{Kind, Status};
use gix::index::entry::Mode;
use gix::status::index_worktree::Item as Unstaged;
use gix::status::plumbing::index_as_worktree::EntryStatus;
use gix::status::{Item, Platform, UntrackedFiles};

use super::own;
use super::plain::check_rules;

/// What differs from the commit that is checked out.
#[derive(Debug, Default)]
pub struct Uncommitted {
    /// Tracked files differ, or those of submodules.
    pub changes: bool,
    /// What git does not know of and is not told to ignore, by its paths in the working tree, in their order; a
    /// directory of nothing else stands for all that is in it, with a slash at its end.
    pub untracked: Vec<String>,
}

/// What git is asked of a working tree: no renames, and each repository by itself.
///
/// # Errors
/// If what git would read there is no plain file, or cannot be read.
pub(super) fn status(
    repository: &gix::Repository,
    untracked: UntrackedFiles,
) -> Result<Platform<'_, gix::progress::Discard>> {
    check_rules(repository)?;
    Ok(repository
        .status(gix::progress::Discard)?
        .untracked_files(untracked)
        .tree_index_track_renames(gix::status::tree_index::TrackRenames::Disabled)
        .index_worktree_rewrites(None)
        .index_worktree_submodules(None))
}

impl Uncommitted {
    /// Looks at the checkout whose working tree begins at `top`, and at its submodules.
    ///
    /// # Errors
    /// If a repository or a working tree cannot be read.
    pub fn of(top: &Path) -> Result<Self> {
        let mut found = Self::default();
        found.add(&own::open(top)?, "")?;
        found.untracked.sort();
        Ok(found)
    }

    /// Adds a repository whose working tree is at `below`, which is empty or ends with a slash.
    fn add(&mut self, repository: &gix::Repository, below: &str) -> Result<()> {
        let status = status(repository, UntrackedFiles::Collapsed)?;
        for item in status.into_iter(Vec::new())? {
            match item? {
                Item::IndexWorktree(Unstaged::Modification {
                    status: EntryStatus::NeedsUpdate(_),
                    ..
                }) => {}
                Item::IndexWorktree(Unstaged::DirectoryContents { entry, .. }) => {
                    let end = match (entry.status, entry.disk_kind) {
                        (Status::Untracked, Some(Kind::File | Kind::Symlink)) => "",
                        (Status::Untracked, Some(Kind::Directory | Kind::Repository)) => "/",
                        // Nothing that a commit could have.
                        _ => continue,
                    };
                    self.untracked
                        .push(format!("{below}{}{end}", entry.rela_path));
                }
                _ => self.changes = true,
            }
        }
        let Some(top) = repository.workdir() else {
            return Ok(());
        };
        let index = repository.index_or_empty()?;
        for entry in index.entries().iter().filter(|e| e.mode == Mode::COMMIT) {
            let path = entry.path(&index);
            let Some(submodule) = own::submodule(top, Path::new(OsStr::from_bytes(path)))? else {
                continue;
            };
            self.changes |= submodule.head_id().ok().map(gix::Id::detach) != Some(entry.id);
            self.add(&submodule, &format!("{below}{path}/"))?;
        }
        Ok(())
    }
}
