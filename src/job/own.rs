//! What of a checkout is its own. All of it may be from others, `.git` included, and then it must lead neither to
//! repositories and files of this host that know nothing of it, nor to programs that run here.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use anyhow::Context;
use gix::config::{File as Settings, Source};

use super::Alternate;
use super::plain::{SMALL, check_file, check_objects, check_repository, led_to, read_small};
use crate::outcome::InputError;

/// By this key, a repository somewhere else names the checkout that is its own.
const CHECKOUT_KEY: &str = "alloy-ci.checkout";
/// The largest object that git reads, and the largest list that it makes of a file, in bytes. An object says itself how
/// large it is, and that much memory is taken before it is read.
const LARGEST: usize = 128 << 20;
/// How many object directories a repository may borrow from.
const MOST_ALTERNATES: usize = 50;

/// Finds the top of the working tree that a directory is in.
///
/// # Errors
/// [`InputError`] where it is in none, or in one whose repository is not to be read.
pub(super) fn top_around(directory: &Path) -> Result<PathBuf, InputError> {
    let directory = absolute(directory);
    for top in directory.ancestors() {
        let link = top.join(".git");
        if fs::symlink_metadata(&link).is_ok() {
            check_repository(&link)?;
            if gix::discover::is_git(&link).is_ok() {
                return Ok(top.to_owned());
            }
        }
        let is_there = |name: &&str| top.join(name).exists();
        if !top.ends_with(".git") && ["HEAD", "objects", "refs"].iter().all(is_there) {
            return Err(is_bare(top));
        }
    }
    Err(InputError::new(format!(
        "{} is not in a git checkout; run `git init` and commit what is to be tested",
        directory.display()
    )))
}

/// That a repository has no working tree.
pub(super) fn is_bare(directory: &Path) -> InputError {
    InputError::new(format!(
        "{} is a bare git repository; run this in a checkout",
        directory.display()
    ))
}

/// Opens the repository of a working tree, without what in its own settings leads elsewhere: to programs as filters,
/// which would run on this host, to more settings, and to what is no plain file. What the user's settings name stays.
///
/// # Errors
/// If it cannot be read, or its settings are wrong.
pub(super) fn open(top: &Path) -> anyhow::Result<gix::Repository> {
    check_repository(&top.join(".git"))?;
    let mut repository = open_with(top, false)?;
    match includes(repository.config_snapshot().plumbing()) {
        Includes::None => {}
        Includes::Users => repository = open_with(top, true)?,
        Includes::Own => log::warn!(
            "{}: settings that those of the repository include are not read",
            top.display()
        ),
    }
    let settings = repository.config_snapshot();
    let mut wrong = Vec::new();
    for key in ["core.attributesFile", "core.excludesFile"] {
        let named = settings.trusted_path(key)?;
        if let Some(Err(error)) = named.map(|path| check_patterns(&path)) {
            log::warn!("{key}: {error}");
            wrong.push(key);
        }
    }
    let mut settings = repository.config_snapshot_mut();
    for key in wrong {
        settings.set_raw_value(key, "/dev/null")?;
    }
    let filters: Vec<_> = settings
        .sections_and_ids_by_name("filter")
        .into_iter()
        .flatten()
        .filter(|(section, _)| is_own(section.meta().source))
        .map(|(_, id)| id)
        .collect();
    for id in filters {
        settings.remove_section_by_id(id);
    }
    settings.commit()?;
    Ok(repository)
}

fn open_with(top: &Path, includes: bool) -> anyhow::Result<gix::Repository> {
    let mut permissions = gix::open::Permissions::default();
    permissions.config.includes = includes;
    let options = gix::open::Options::default()
        .permissions(permissions)
        .config_overrides([format!("gitoxide.objects.allocLimit={LARGEST}")]);
    Ok(gix::open_opts(top, options)?)
}

/// Which settings include others.
enum Includes {
    None,
    /// Those of the user alone.
    Users,
    /// Those of the repository.
    Own,
}

fn includes(settings: &Settings) -> Includes {
    let sections = ["include", "includeIf"].into_iter();
    let sections = sections.filter_map(|name| settings.sections_by_name(name));
    let sources: Vec<_> = sections
        .flatten()
        .map(|section| section.meta().source)
        .collect();
    if sources.is_empty() {
        Includes::None
    } else if sources.iter().any(|source| is_own(*source)) {
        Includes::Own
    } else {
        Includes::Users
    }
}

/// Whether settings are those of the repository.
fn is_own(source: Source) -> bool {
    matches!(source, Source::Local | Source::Worktree)
}

/// Checks a file of patterns that settings name. Who wants none, names no device but this.
fn check_patterns(path: &Path) -> Result<(), InputError> {
    if path == Path::new("/dev/null") {
        return Ok(());
    }
    check_file(path, Some(SMALL))
}

/// Opens a submodule of the working tree at `top`. `None` where it has not been fetched.
///
/// # Errors
/// If it cannot be read, and [`InputError`] where what is there is no repository of this working tree's.
pub(super) fn submodule(top: &Path, path: &Path) -> anyhow::Result<Option<gix::Repository>> {
    check_path(top, path)?;
    let directory = top.join(path);
    let link = path.join(".git");
    if !is_inside(top, &link) || fs::symlink_metadata(top.join(link)).is_err() {
        return Ok(None);
    }
    let submodule = open(&directory)
        .with_context(|| format!("cannot read the submodule {}", directory.display()))?;
    belongs(&submodule, &directory)?;
    Ok(Some(submodule))
}

/// Checks that the working tree at `top` and a repository belong to each other. Where `.git` leads elsewhere, the
/// repository there has to name `top`: otherwise anybody's `.git` could name a repository of the user's.
///
/// # Errors
/// [`InputError`] where they do not.
pub(super) fn belongs(repository: &gix::Repository, top: &Path) -> Result<(), InputError> {
    let git_dir = absolute(repository.git_dir());
    let common = absolute(repository.common_dir());
    let link = top.join(".git");
    let plain = fs::symlink_metadata(&link).is_ok_and(|data| data.is_dir());
    let here = repository.workdir().map(absolute) == Some(absolute(top));
    let own = if !here {
        false
    } else if plain {
        git_dir == absolute(&link) && common == git_dir
    } else {
        led_to(&link) == Some(git_dir.clone())
            && (is_linked(&git_dir, &common, &link)
                || (common == git_dir && names_worktree(repository, top)))
    };
    if own {
        return Ok(());
    }
    Err(InputError::new(format!(
        "{} and the repository {} do not name each other, so it may be of others; if it is yours: git --git-dir={} config {CHECKOUT_KEY} {}",
        link.display(),
        common.display(),
        common.display(),
        top.display()
    )))
}

/// Whether a repository has made this working tree (`git worktree add`), and says so itself.
fn is_linked(git_dir: &Path, common: &Path, link: &Path) -> bool {
    let of_common = git_dir.parent().and_then(Path::parent) == Some(common);
    let named = read_small(&git_dir.join("gitdir")).ok();
    let named = named.map(|text| git_dir.join(OsStr::from_bytes(text.trim_ascii())));
    of_common && named.and_then(|path| path.canonicalize().ok()) == link.canonicalize().ok()
}

/// Whether the settings of a repository name its working tree: as those of submodules do, or by a key of ours, which
/// git itself does not obey.
fn names_worktree(repository: &gix::Repository, top: &Path) -> bool {
    let settings = repository.config_snapshot();
    ["core.worktree", CHECKOUT_KEY].iter().any(|key| {
        let named = settings.string(*key);
        let named = named.map(|path| repository.git_dir().join(OsStr::from_bytes(&path)));
        named.and_then(|path| path.canonicalize().ok()) == top.canonicalize().ok()
    })
}

/// Checks a path that an index names. git lets none into one that leads out of the working tree or into `.git`, but an
/// index may be from others, and not all that reads it looks at each.
///
/// # Errors
/// [`InputError`] with the path, if it is no such path.
pub(super) fn check_path(top: &Path, path: &Path) -> Result<(), InputError> {
    let is_plain = |part: Component| match part {
        Component::Normal(name) => !name.eq_ignore_ascii_case(".git"),
        _ => false,
    };
    let text = path.as_os_str().as_bytes();
    if !text.is_empty() && !text.contains(&0) && path.components().all(is_plain) {
        return Ok(());
    }
    Err(InputError::new(format!(
        "the index of {} names `{}`, which is no path in it: the checkout may be of others, and was not made by git; clone it again",
        top.display(),
        path.display().to_string().escape_debug()
    )))
}

/// Whether a path below `top` leads through no link up to its last part, which may be one.
pub(super) fn is_inside(top: &Path, path: &Path) -> bool {
    let parents = path.ancestors().skip(1);
    parents
        .filter(|parent| !parent.as_os_str().is_empty())
        .all(|parent| fs::symlink_metadata(top.join(parent)).is_ok_and(|data| data.is_dir()))
}

/// Object directories that a repository borrows from, and those that they borrow from. All that is in them, the
/// helper sees.
///
/// # Errors
/// [`InputError`] where one is something else, or of another user.
pub(super) fn alternates(git_dir: &Path) -> Result<Vec<Alternate>, InputError> {
    let mut found: Vec<Alternate> = Vec::new();
    let owner = fs::metadata(git_dir).map(|data| data.uid()).ok();
    let mut open = vec![(git_dir.join("objects"), PathBuf::new())];
    while let Some((objects, named)) = open.pop() {
        let list = objects.join("info/alternates");
        let text = match read_small(&list) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            text => {
                text.map_err(|error| InputError::new(format!("{}: {error}", list.display())))?
            }
        };
        let lines = text.split(|byte| *byte == b'\n');
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with(b"#")) {
            let line = Path::new(OsStr::from_bytes(line));
            let directory = match objects.join(line).canonicalize() {
                // Git passes it over, too.
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    log::warn!("{}: {} is not there", list.display(), line.display());
                    continue;
                }
                directory => directory.unwrap_or_else(|_| objects.join(line)),
            };
            let other = Alternate {
                directory,
                named: named.join(line),
            };
            if found.contains(&other) {
                continue;
            }
            let wrong = if found.len() == MOST_ALTERNATES {
                Some("are too many")
            } else if !is_of(&other.directory, owner) {
                Some("is of another user")
            } else if !is_object_directory(&other.directory) {
                Some("is no object directory of git")
            } else {
                None
            };
            if let Some(wrong) = wrong {
                let (list, line) = (list.display(), line.display());
                let message = format!("{list}: {line} {wrong}, and no job gets to see it");
                return Err(InputError::new(message));
            }
            check_objects(&other.directory)?;
            open.push((other.directory.clone(), other.named.clone()));
            found.push(other);
        }
    }
    Ok(found)
}

/// Whether a directory belongs to the owner of the repository, or to the user that this process runs as.
fn is_of(directory: &Path, owner: Option<u32>) -> bool {
    let user = rustix::process::geteuid().as_raw();
    fs::metadata(directory)
        .as_ref()
        .map(Metadata::uid)
        .is_ok_and(|uid| uid == user || Some(uid) == owner)
}

/// Whether nothing but what git keeps objects in is in a directory.
fn is_object_directory(directory: &Path) -> bool {
    let of_objects = |name: &[u8]| {
        matches!(name, b"pack" | b"info")
            || (name.len() == 2 && name.iter().all(u8::is_ascii_hexdigit))
    };
    let of_git =
        |name: &[u8]| of_objects(name) || name.starts_with(b"tmp_") || name.ends_with(b".lock");
    let Ok(entries) = fs::read_dir(directory) else {
        return false;
    };
    let mut any = false;
    for entry in entries {
        let Ok(name) = entry.map(|entry| entry.file_name()) else {
            return false;
        };
        any |= of_objects(name.as_bytes());
        if !of_git(name.as_bytes()) {
            return false;
        }
    }
    any
}

pub(super) fn absolute(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_path_of_an_index_stays_in_the_working_tree() {
        let check = |path: &str| super::check_path("/top".as_ref(), path.as_ref());
        for path in ["a", "a/b", ".gitignore", "a/.github/x", "..a"] {
            check(path).expect(path);
        }
        for path in [
            "",
            "/etc/passwd",
            "../x",
            "a/../../x",
            ".git/config",
            "sub/.GIT/hooks/x",
            "a\0b",
        ] {
            let error = check(path).expect_err(path).to_string();
            assert!(error.contains("is no path in it"), "{error}");
        }
    }
}
