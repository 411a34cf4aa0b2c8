//! The helper's script that fetches the sources.

use std::fmt::Write as _;

use super::{quote, quote_secret};
use crate::docker::Word;
use crate::secret::Secret;

/// The exit status of [`GetSources`] if there is no repository where one should be mounted.
pub const NO_REPOSITORY: i32 = 66;

/// The path in the helper where a checkout's git directory is mounted.
pub const CHECKOUT_DIR: &str = "/alloy/source";

/// The script's variable with git's credentials: the base64 of `user:password`.
const AUTHORIZATION: &str = "ALLOY_GIT_AUTHORIZATION";

/// The path in the helper of a copy of the uncommitted changes, in the form of [`crate::job::changes`].
pub const CHANGES_DIR: &str = "/alloy/changes";

/// The file of git settings that the script writes, outside of all volumes. Settings in git's environment would not
/// reach the process that serves a local repository, and this process checks who owns the repository.
pub const GIT_SETTINGS: &str = "/alloy/gitconfig";

/// A script that fetches the sources, in the helper.
#[derive(Clone, Debug, Default)]
pub struct GetSources<'a> {
    /// `clone`, `fetch` or `none`.
    pub strategy: &'a str,
    /// The directory of the sources.
    pub directory: &'a str,
    /// Directories that all users of the containers must be able to write to.
    pub open: &'a [String],
    /// Paths below the directory at which other volumes are mounted: their contents are kept.
    pub kept: &'a [String],
    /// Commands of the configuration that run first.
    pub before: &'a str,
    /// The address or path that git fetches from.
    pub url: &'a str,
    /// Whether `url` is [`CHECKOUT_DIR`].
    pub local: bool,
    /// [`CHANGES_DIR`], or nothing.
    pub changes: &'a str,
    /// The credentials for `site`: the base64 of `user:password`.
    pub authorization: Option<Secret>,
    /// The scheme and host that get the credentials.
    pub site: &'a str,
    /// The variables that name proxies for git; an address may contain a password.
    pub proxies: &'a [(String, String)],
    /// The refspecs to fetch if neither branches nor tags contain the commit.
    pub refspecs: &'a [String],
    /// The address of the remote `origin` afterwards.
    pub remote: &'a str,
    /// The commit.
    pub sha: &'a str,
    /// Branch or tag, for the log.
    pub ref_name: &'a str,
    /// How many commits of history; 0: all.
    pub depth: u32,
    /// Whether to check out.
    pub checkout: bool,
    /// `none`, `normal` or `recursive`.
    pub submodules: &'a str,
    /// Certificates that git trusts in addition to the image's, as PEM.
    pub certificates: &'a str,
}

impl GetSources<'_> {
    /// The text for the helper's shell.
    #[must_use]
    pub fn text(&self) -> Word {
        // Secrets come first: in a printed script, they are outside of the here-document.
        let mut secrets = Word::default();
        for (name, value) in self.proxies {
            let value = quote_secret(name, &Secret::new(value));
            secrets = secrets
                .then(format!("export {name}="))
                .then(value)
                .then("\n");
        }
        if let Some(authorization) = &self.authorization {
            let value = quote_secret(AUTHORIZATION, authorization);
            secrets = secrets
                .then(format!("{AUTHORIZATION}="))
                .then(value)
                .then("\n");
        }
        let mut head = String::new();
        for (name, value) in [
            ("strategy", self.strategy),
            ("directory", self.directory),
            ("url", self.url),
            ("local", if self.local { "yes" } else { "" }),
            ("changes", self.changes),
            ("site", self.site),
            ("refspecs", &self.refspecs.join(" ")),
            ("remote", self.remote),
            ("sha", self.sha),
            ("ref_name", self.ref_name),
            ("depth", &self.depth.to_string()),
            ("checkout", if self.checkout { "yes" } else { "" }),
            ("submodules", self.submodules),
            ("certificates", self.certificates),
        ] {
            let _ = writeln!(head, "{name}={}", quote(value));
        }
        let kept = self
            .kept
            .iter()
            .fold(String::from("|"), |kept, path| kept + path + "|");
        let _ = writeln!(head, "kept={}", quote(&kept));
        // Before the commands of the configuration, which may add settings.
        let _ = writeln!(
            head,
            "mkdir -p /alloy\nprintf '[safe]\\n\\tdirectory = *\\n' >{GIT_SETTINGS}"
        );
        if !self.before.is_empty() {
            let _ = writeln!(head, "set -e\neval {}", quote(self.before));
        }
        let open: Vec<String> = self.open.iter().map(|path| quote(path)).collect();
        let _ = writeln!(head, "set -- {}", open.join(" "));
        // As in a job's script: the shell reads all of it before it runs, and standard input is at its end.
        secrets.then(format!(
            "{{\nexec </dev/null 2>&1\n{head}{}exit 0\n}}\n",
            include_str!("get-sources.sh")
        ))
    }
}
