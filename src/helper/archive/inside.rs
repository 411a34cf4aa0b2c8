//! Decides whether names and links of archives, and patterns, stay inside a directory.
//!
//! This looks at the text of a path only, not at the disk. The code that writes makes sure that no part of a path is a
//! link ([`tree`](super::tree)).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// The longest path of Linux, in bytes (`PATH_MAX` without its NUL).
const LONGEST: usize = 4095;

/// Normalizes a name in an archive to a path below its directory; empty for the directory itself.
///
/// # Errors
/// Why the name is refused.
pub fn name(raw: &[u8]) -> Result<PathBuf, &'static str> {
    if raw.contains(&0) {
        return Err("its name has a NUL");
    }
    if raw.is_empty() {
        return Err("its name is empty");
    }
    if raw.len() > LONGEST {
        return Err("its name is longer than Linux takes");
    }
    let mut path = PathBuf::new();
    for component in Path::new(OsStr::from_bytes(raw)).components() {
        match component {
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            Component::ParentDir => return Err("`..` in its path"),
            Component::RootDir | Component::Prefix(_) => return Err("an absolute path"),
        }
    }
    Ok(path)
}

/// Checks that a link at `path` below `root` leads to a place below it, whatever other such links there are. So `..` is
/// only allowed at the target's beginning, where the directories that it leaves are real ones.
///
/// # Errors
/// Why the link is refused.
pub fn link(root: &Path, path: &Path, target: &OsStr) -> Result<(), String> {
    let out = || leads_out(target);
    if target.len() > LONGEST {
        return Err("a link to a name that is longer than Linux takes".to_owned());
    }
    let target = Path::new(target);
    if target.as_os_str().is_empty() || target.as_os_str().as_bytes().contains(&0) {
        return Err("a link to nowhere".to_owned());
    }
    let (mut depth, target) = match (target.is_absolute(), target.strip_prefix(root)) {
        (true, Ok(below)) => (0, below),
        (true, Err(_)) => return Err(out()),
        (false, _) => (path.components().count().saturating_sub(1), target),
    };
    let mut named = false;
    for component in target.components() {
        match component {
            Component::ParentDir if named || depth == 0 => return Err(out()),
            Component::ParentDir => depth -= 1,
            Component::Normal(_) => named = true,
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    Ok(())
}

/// The message that a link leads out.
#[must_use]
pub fn leads_out(target: &OsStr) -> String {
    let target = target.to_string_lossy();
    format!("a link that leads out of the project, to {target}")
}

#[cfg(test)]
mod tests {
    use super::{link, name};
    use std::ffi::OsStr;
    use std::path::Path;

    #[test]
    fn names_that_lead_out_are_refused() {
        for (raw, path) in [
            (&b"a/b"[..], "a/b"),
            (b"./a//b/", "a/b"),
            (b"./", ""),
            (b"a\\..\\b", "a\\..\\b"),
            (b"..a/b..", "..a/b.."),
        ] {
            assert_eq!(name(raw).as_deref(), Ok(Path::new(path)));
        }
        for (raw, why) in [
            (&b"/etc/passwd"[..], "an absolute path"),
            (b"../x", "`..` in its path"),
            (b"a/../../x", "`..` in its path"),
            (b"a/..", "`..` in its path"),
            (b"a\0b", "its name has a NUL"),
            (b"", "its name is empty"),
        ] {
            assert_eq!(name(raw), Err(why));
        }
    }

    #[test]
    fn links_that_lead_out_are_refused() {
        let check = |path: &str, target: &str| {
            link(
                Path::new("/builds/a/b"),
                Path::new(path),
                OsStr::new(target),
            )
        };
        for (path, target) in [
            ("l", "a"),
            ("a/b/l", "../../c/d"),
            ("a/l", ".."),
            ("a/l", "./x"),
            ("l", "/builds/a/b/x"),
        ] {
            assert_eq!(check(path, target), Ok(()), "{path} -> {target}");
        }
        for (path, target) in [
            ("l", "/etc"),
            ("l", "/builds/a/bb"),
            ("l", "/builds/a/b/../c"),
            ("l", ".."),
            ("a/l", "../../x"),
            // If `d` is a link to a directory above, this leads out.
            ("l", "d/../.."),
            ("l", "a/.."),
            ("l", ""),
        ] {
            assert!(check(path, target).is_err(), "{path} -> {target}");
        }
    }
}
