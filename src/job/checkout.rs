//! The git checkout that a local job is run from. It is only read, and without a git on this host.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::changes::Changes;
use super::own::{self, absolute, alternates, belongs};
use super::{Origin, Project, Sources};
use crate::outcome::InputError;

/// A checkout with at least one commit.
pub struct Checkout {
    /// The top of its working tree.
    pub directory: PathBuf,
    /// Whose jobs it makes: from the remote `origin`, else `local/<directory's name>`.
    pub project: Project,
    /// The commit that is checked out.
    pub sources: Sources,
}

impl Checkout {
    /// Finds the checkout around `directory`.
    ///
    /// # Errors
    /// [`InputError`] where there is none, or nothing is committed.
    pub fn discover(directory: &Path) -> Result<Self, InputError> {
        let top = own::top_around(directory)?;
        let repository = own::open(&top)
            .map_err(|error| InputError::new(format!("{}: {error:#}", top.display())))?;
        if repository.workdir().is_none() {
            return Err(own::is_bare(&top));
        }
        belongs(&repository, &top)?;
        let head = repository.head_id().map_err(|error| {
            InputError::new(format!(
                "{} has no commit yet ({error}); commit what is to be tested",
                top.display()
            ))
        })?;
        let remote = repository
            .find_remote("origin")
            .ok()
            .and_then(|remote| remote.url(gix::remote::Direction::Fetch).cloned())
            // In a checkout of another user's, settings count only where they are asked for by name.
            .or_else(|| {
                let config = repository.config_snapshot();
                let url = config.string("remote.origin.url")?;
                gix::url::parse(gix::bstr::BStr::new(&url)).ok()
            })
            .map(|mut url| {
                if url.scheme != gix::url::Scheme::Ssh {
                    url.set_user(None);
                }
                url.set_password(None);
                url
            });
        let branch = repository
            .head_name()
            .ok()
            .flatten()
            .map(|name| name.shorten().to_string());
        let tag = if branch.is_none() {
            tag_of(&repository, head.detach())
        } else {
            None
        };
        let sha = head.to_string();
        let ref_name = branch
            .or_else(|| tag.clone())
            .unwrap_or_else(|| "HEAD".to_owned());
        let git_dir = absolute(repository.common_dir());
        Ok(Self {
            project: project(&top, remote.as_ref()),
            sources: Sources {
                origin: Origin::Checkout {
                    alternates: alternates(&git_dir)?,
                    git_dir,
                    remote: remote.map(|url| url.to_bstring().to_string()),
                    changes: None,
                },
                sha,
                before_sha: None,
                ref_name,
                tag: tag.is_some(),
                depth: 0,
            },
            directory: top,
        })
    }

    /// Copies what is not committed, if anything is, into a directory in `place`. It belongs to the sources from now
    /// on.
    ///
    /// # Errors
    /// As [`Changes::of`].
    pub fn take_changes(&mut self, place: &Path) -> anyhow::Result<Option<Changes>> {
        let taken = Changes::of(&self.directory, place)?;
        if let Origin::Checkout { changes, .. } = &mut self.sources.origin {
            *changes = taken.as_ref().map(|taken| taken.directory().to_owned());
        }
        Ok(taken)
    }
}

/// The tag that points to a commit, for a checkout of no branch.
fn tag_of(repository: &gix::Repository, commit: gix::ObjectId) -> Option<String> {
    let references = repository.references().ok()?;
    let mut tags = references.tags().ok()?.filter_map(Result::ok);
    tags.find_map(|mut tag| {
        let target = tag.peel_to_id().ok()?;
        (target.detach() == commit).then(|| tag.name().shorten().to_string())
    })
}

fn project(top: &Path, remote: Option<&gix::Url>) -> Project {
    let digest = Sha256::digest(top.as_os_str().as_encoded_bytes());
    let id = u64::from(u32::from_be_bytes([
        digest[0], digest[1], digest[2], digest[3],
    ]));
    let path = remote
        .map(|url| url.path.to_string())
        .and_then(|path| project_path(&path));
    let (namespace, name) = path.unwrap_or_else(|| {
        let name = top
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        (
            "local".to_owned(),
            name.as_deref()
                .map_or_else(|| "project".to_owned(), sanitize),
        )
    });
    Project {
        id,
        namespace,
        name,
    }
}

/// `acme`, `site` of `/acme/site.git`. `None` for a path without a namespace.
pub(super) fn project_path(path: &str) -> Option<(String, String)> {
    let path = path.trim_end_matches('/');
    let parts: Vec<String> = path
        .strip_suffix(".git")
        .unwrap_or(path)
        .split('/')
        .filter(|part| !part.is_empty() && *part != "." && *part != ".." && !part.starts_with('~'))
        .map(sanitize)
        .collect();
    let (name, namespace) = parts.split_last()?;
    (!namespace.is_empty()).then(|| (namespace.join("/"), name.clone()))
}

/// A part of a path with nothing in it that a mount, a shell or a hostname trips over.
fn sanitize(part: &str) -> String {
    let part: String = part
        .chars()
        .map(|c| {
            if c.is_alphanumeric() || "._-+".contains(c) {
                c
            } else {
                '-'
            }
        })
        .collect();
    if part.starts_with('.') || part.starts_with('-') {
        format!("_{part}")
    } else {
        part
    }
}

#[cfg(test)]
mod tests {
    use super::project_path;

    #[test]
    fn projects_are_named_after_the_remotes_path() {
        let pair = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        for (path, want) in [
            ("/acme/site.git", pair("acme", "site")),
            ("acme/group/site/", pair("acme/group", "site")),
            ("/../x y/--evil", pair("x-y", "_--evil")),
            ("/site.git", None),
            ("", None),
        ] {
            assert_eq!(project_path(path), want, "{path}");
        }
    }
}
