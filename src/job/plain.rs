//! Whether what git reads of a checkout are plain files, and not too large. The checkout may be from others, and git opens
//! what it finds by a name: at a pipe it waits for ever, and of a link to a device it reads until no memory is left.

use std::ffi::OsStr;
use std::fs::{self, File, FileType, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use anyhow::Result;
use gix::dir::EntryRef;
use gix::dir::entry::Status;
use gix::dir::walk::{Action, Delegate, ForDeletionMode};
use rustix::fs::OFlags;

use crate::outcome::InputError;

/// The longest file with settings, patterns or a name, in bytes.
pub(super) const SMALL: u64 = 1 << 20;
/// The longest list of files or refs, in bytes.
const LARGE: u64 = 256 << 20;
/// The files of a git directory that are read, and how long they may be.
const FILES: [(&str, u64); 8] = [
    ("HEAD", SMALL),
    ("commondir", SMALL),
    ("config", SMALL),
    ("config.worktree", SMALL),
    ("gitdir", SMALL),
    ("index", LARGE),
    ("packed-refs", LARGE),
    ("shallow", LARGE),
];
/// The directories there that are read, and how long each file in them may be. Of objects git reads as much as it needs.
const DIRECTORIES: [(&str, Option<u64>); 3] = [
    ("info", Some(SMALL)),
    ("objects", None),
    ("refs", Some(SMALL)),
];
/// What a part of an index is called that several share.
const SHARED_INDEX: &[u8] = b"sharedindex.";
/// The files of a working tree by which git reads others.
const RULES: [&str; 3] = [".gitattributes", ".gitignore", ".gitmodules"];

/// Opens a file of a checkout: no link, and nothing that it would have to wait for.
///
/// # Errors
/// If it is no plain file, or cannot be read.
pub(super) fn open_file(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    let flags = i32::try_from(flags).map_err(io::Error::other)?;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("it is no plain file"))
    }
}

/// Reads the begin of a file of a checkout.
///
/// # Errors
/// As [`open_file`].
pub(super) fn read_small(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    open_file(path)?.take(SMALL).read_to_end(&mut text)?;
    Ok(text)
}

/// Where a `.git` leads that is a file or a link.
pub(super) fn led_to(link: &Path) -> Option<PathBuf> {
    if fs::symlink_metadata(link).ok()?.is_symlink() {
        return link.canonicalize().ok();
    }
    let text = read_small(link).ok()?;
    let path = text.strip_prefix(b"gitdir:")?.trim_ascii();
    let path = link.parent()?.join(OsStr::from_bytes(path));
    path.canonicalize().ok()
}

/// Checks the repository that a `.git` leads to, be that a directory, a link or a file. One that leads to none is none.
///
/// # Errors
/// [`InputError`] with the path of what is no plain file.
pub(super) fn check_repository(link: &Path) -> Result<(), InputError> {
    for directory in git_dirs(link)? {
        for (name, most) in DIRECTORIES {
            check_files_below(&directory.join(name), most)?;
        }
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            if entry.file_name().as_bytes().starts_with(SHARED_INDEX) {
                check_file(&entry.path(), Some(LARGE))?;
            }
        }
    }
    Ok(())
}

/// The git directory that a `.git` leads to, and the one that it shares with other working trees. Their own files are
/// checked: that much git reads to see whether it is a repository.
fn git_dirs(link: &Path) -> Result<Vec<PathBuf>, InputError> {
    let is_directory = fs::symlink_metadata(link).is_ok_and(|data| data.is_dir());
    let git_dir = if is_directory {
        Some(link.to_owned())
    } else {
        led_to(link)
    };
    let mut directories: Vec<PathBuf> = git_dir.into_iter().collect();
    for directory in &directories {
        check_own_files(directory)?;
    }
    let common = directories.first().map(|git_dir| {
        let named = read_small(&git_dir.join("commondir")).ok()?;
        Some(git_dir.join(OsStr::from_bytes(named.trim_ascii_end())))
    });
    if let Some(common) = common.flatten() {
        check_own_files(&common)?;
        directories.push(common);
    }
    Ok(directories)
}

fn check_own_files(git_dir: &Path) -> Result<(), InputError> {
    let mut files = FILES.iter();
    files.try_for_each(|(name, most)| check_file(&git_dir.join(name), Some(*most)))
}

/// Checks all that is below an object directory, which others may borrow.
///
/// # Errors
/// As [`check_repository`].
pub(super) fn check_objects(directory: &Path) -> Result<(), InputError> {
    check_files_below(directory, None)
}

fn check_files_below(directory: &Path, most: Option<u64>) -> Result<(), InputError> {
    let kind = fs::symlink_metadata(directory).map(|data| data.file_type());
    match kind {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(unreadable(directory, &error)),
        Ok(kind) if !kind.is_dir() => return Err(wrong(directory, kind_of(kind))),
        Ok(_) => {}
    }
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in entries(&directory)? {
            let path = entry.path();
            let kind = entry.file_type();
            let kind = kind.map_err(|error| unreadable(&path, &error))?;
            if kind.is_dir() {
                open.push(path);
            } else if !kind.is_file() || most.is_some() {
                check_file(&path, most)?;
            }
        }
    }
    Ok(())
}

/// Checks something that is read as a file, where it is there: it, or what it is a link to, has to be one.
///
/// # Errors
/// As [`check_repository`].
pub(super) fn check_file(path: &Path, most: Option<u64>) -> Result<(), InputError> {
    let data = match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        data => data.map_err(|error| unreadable(path, &error))?,
    };
    match most {
        _ if !data.is_file() => Err(wrong(path, kind_of(data.file_type()))),
        Some(most) if data.len() > most => Err(InputError::new(format!(
            "{} has {} bytes, and of such a file no more than {most} are read",
            path.display(),
            data.len()
        ))),
        _ => Ok(()),
    }
}

/// Checks the files in a working tree that say how git reads others, in all directories that it looks into, before it
/// does so.
///
/// # Errors
/// [`InputError`] as [`check_repository`], or if the tree or its index cannot be read.
pub(super) fn check_rules(repository: &gix::Repository) -> Result<()> {
    let Some(top) = repository.workdir() else {
        return Ok(());
    };
    check_directory(top)?;
    let mut check = Check { top, wrong: Ok(()) };
    let index = repository.index_or_empty()?;
    let never = AtomicBool::new(false);
    let options = repository.dirwalk_options()?;
    repository.dirwalk(&index, [""; 0], &never, options, &mut check)?;
    check.wrong.map_err(anyhow::Error::from)
}

/// Looks at each directory before git reads what is in there.
struct Check<'t> {
    top: &'t Path,
    wrong: Result<(), InputError>,
}

impl Delegate for Check<'_> {
    fn emit(&mut self, _: EntryRef<'_>, _: Option<Status>) -> Action {
        match self.wrong {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }

    fn can_recurse(
        &mut self,
        entry: EntryRef<'_>,
        deletes: Option<ForDeletionMode>,
        root_is_repository: bool,
    ) -> bool {
        let kind = (entry.disk_kind, entry.pathspec_match);
        if self.wrong.is_err()
            || !entry
                .status
                .can_recurse(kind.0, kind.1, deletes, root_is_repository)
        {
            return false;
        }
        self.wrong = check_directory(&self.top.join(OsStr::from_bytes(&entry.rela_path)));
        self.wrong.is_ok()
    }
}

/// Checks a directory of a working tree, and the repositories right below it: git asks each whether it is one.
fn check_directory(directory: &Path) -> Result<(), InputError> {
    for name in RULES {
        let path = directory.join(name);
        // git follows no link here.
        if !path.is_symlink() {
            check_file(&path, Some(SMALL))?;
        }
    }
    // What git cannot read, it says itself.
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            git_dirs(&entry.path().join(".git"))?;
        }
    }
    Ok(())
}

fn entries(directory: &Path) -> Result<Vec<fs::DirEntry>, InputError> {
    let entries = fs::read_dir(directory).and_then(Iterator::collect);
    entries.map_err(|error| unreadable(directory, &error))
}

fn unreadable(path: &Path, error: &io::Error) -> InputError {
    InputError::new(format!("cannot read {}: {error}", path.display()))
}

fn wrong(path: &Path, what: &str) -> InputError {
    InputError::new(format!(
        "{} is {what}, and git would read it: the checkout may be of others, and was not made by git; clone it again",
        path.display()
    ))
}

fn kind_of(kind: FileType) -> &'static str {
    if kind.is_fifo() {
        "a pipe"
    } else if kind.is_char_device() || kind.is_block_device() {
        "a device"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_symlink() {
        "a link"
    } else if kind.is_dir() {
        "a directory"
    } else {
        "a file"
    }
}
