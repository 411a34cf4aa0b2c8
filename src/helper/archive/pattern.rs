//! Patterns of paths below a project.

use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::glob::Glob;

/// A pattern, divided into a directory and a search below it.
pub struct Pattern {
    /// The directories before the first wildcard.
    pub prefix: PathBuf,
    /// The pattern that paths below the project have to match. `None` if the pattern is the prefix itself.
    pub matcher: Option<Glob>,
    /// How deep below the project a match can be.
    pub depth: Option<usize>,
}

impl Pattern {
    /// Whether a path below the project matches: what is in a directory that matches does not.
    pub fn matches(&self, path: &Path) -> bool {
        match &self.matcher {
            Some(matcher) => matcher.matches(path.as_os_str().as_bytes()),
            None => path == self.prefix,
        }
    }

    /// Parses a pattern of a project that is in this directory.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn parse(root: &Path, text: &str) -> Result<Self, String> {
        let outside = || "it lies outside the project".to_owned();
        let given = Path::new(text);
        let below = if given.is_absolute() {
            given.strip_prefix(root).map_err(|_| outside())?
        } else {
            given
        };
        let mut path = PathBuf::new();
        for component in below.components() {
            match component {
                Component::Normal(part) => path.push(part),
                Component::ParentDir => {
                    if !path.pop() {
                        return Err(outside());
                    }
                }
                Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
            }
        }
        let wild = |part: &Component| {
            part.as_os_str()
                .as_bytes()
                .iter()
                .any(|c| b"*?[{\\".contains(c))
        };
        let prefix: PathBuf = path.components().take_while(|part| !wild(part)).collect();
        if prefix == path {
            return Ok(Self {
                prefix,
                matcher: None,
                depth: None,
            });
        }
        let pattern = path.to_string_lossy();
        // Alternatives can contain slashes.
        let depth =
            (!pattern.contains("**") && !pattern.contains('{')).then(|| path.components().count());
        Ok(Self {
            prefix,
            matcher: Some(Glob::new(&pattern)?),
            depth,
        })
    }
}
