//! What a payload says of the sources.

use serde::Deserialize;

use super::value;
use crate::job::remote::Remote;
use crate::job::{Origin, Sources};
use crate::outcome::InputError;

/// The longest name of a branch or tag, in bytes. It goes into the labels of everything that is made for a job, and no
/// forge takes more than a file's name may have, 255.
const LONGEST_REF: usize = 1024;

/// `git_info`.
#[derive(Deserialize)]
pub(super) struct GitInfo {
    pub repo_url: String,
    r#ref: String,
    sha: String,
    before_sha: Option<String>,
    ref_type: Option<String>,
    depth: Option<i64>,
    #[serde(default, deserialize_with = "value::list")]
    refspecs: Option<Vec<String>>,
    /// Of the ref, as newer coordinators say it.
    pub protected: Option<bool>,
}

impl GitInfo {
    /// The commit, and what its branch or tag is called: AlloyCI sends full refs, `owner:branch` for a fork's
    /// pull request, and `branch` for the type of all; GitLab sends short names.
    pub fn read(self, remote: Remote) -> Result<Sources, InputError> {
        let good =
            |sha: &str| [40, 64].contains(&sha.len()) && sha.chars().all(|c| c.is_ascii_hexdigit());
        if !good(&self.sha) {
            return Err(InputError::new(format!(
                "`{}` is no commit id",
                self.sha.escape_debug()
            )));
        }
        let (ref_name, tag) = match self.r#ref.split_once("refs/") {
            Some(("", rest)) => match rest.split_once('/') {
                Some(("heads", name)) => (name.to_owned(), false),
                Some(("tags", name)) => (name.to_owned(), true),
                _ => (self.r#ref, false),
            },
            _ => (self.r#ref, self.ref_type.as_deref() == Some("tag")),
        };
        if ref_name.chars().any(char::is_control) {
            return Err(InputError::new("the ref has control characters"));
        }
        if ref_name.len() > LONGEST_REF {
            return Err(InputError::new(format!(
                "the ref has {} bytes, and no more than {LONGEST_REF} are taken",
                ref_name.len()
            )));
        }
        let refspecs = self.refspecs.unwrap_or_default().into_iter();
        Ok(Sources {
            origin: Origin::Remote {
                remote,
                refspecs: refspecs.filter(|spec| is_refspec(spec)).collect(),
            },
            sha: self.sha.to_ascii_lowercase(),
            before_sha: self.before_sha.filter(|sha| good(sha)),
            ref_name,
            tag,
            // GitLab's negative ones are all of the history too.
            depth: u32::try_from(self.depth.unwrap_or(0).max(0)).unwrap_or(u32::MAX),
        })
    }
}

/// `+refs/…:refs/…`, names as git has them ([check-ref-format](https://git-scm.com/docs/git-check-ref-format)), and nothing
/// that git could take for something else.
fn is_refspec(spec: &str) -> bool {
    let good = |name: &str| {
        let bad = |c: char| c.is_control() || c.is_whitespace() || "~^:?[\\".contains(c);
        name.starts_with("refs/")
            && !name.contains(bad)
            && !["..", "@{", "//"].iter().any(|part| name.contains(part))
            && name.matches('*').count() < 2
    };
    let spec = spec.strip_prefix('+').unwrap_or(spec);
    spec.split_once(':')
        .map_or_else(|| good(spec), |(from, to)| good(from) && good(to))
}

#[cfg(test)]
mod tests {
    use super::is_refspec;

    #[test]
    fn refspecs_are_of_refs_whatever_branches_are_called() {
        for spec in [
            "+refs/heads/*:refs/remotes/origin/*",
            "refs/merge-requests/7/head:refs/remotes/origin/merge-requests/7",
            "+refs/pipelines/9:refs/pipelines/9",
            "+refs/heads/fix/#12-größe@v2,+x:refs/remotes/origin/fix/#12-größe@v2,+x",
        ] {
            assert!(is_refspec(spec), "{spec}");
        }
        for spec in [
            "",
            "--upload-pack=x",
            "main",
            "+main:refs/heads/main",
            "refs/heads/main:--exec",
            "refs/heads/../../config",
            "refs/heads/*:refs/*/*",
            "refs/heads/a b",
            "refs/heads/a\nb",
            "refs/heads/a:refs/b:refs/c",
        ] {
            assert!(!is_refspec(spec), "{spec}");
        }
    }
}
