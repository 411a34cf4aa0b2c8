//! The script that gets the sources in place.

use std::fmt::Write as _;

use super::{quote, quote_secret};
use crate::docker::Word;
use crate::secret::Secret;

/// The status with which [`GetSources`] says that it sees no repository where one should be mounted.
pub const NO_REPOSITORY: i32 = 66;

/// Where the helper finds a checkout's git directory.
pub const CHECKOUT_DIR: &str = "/alloy/source";

/// The variable of the script that says who git is: the base64 of `user:password`.
const AUTHORIZATION: &str = "ALLOY_GIT_AUTHORIZATION";

/// Where the helper finds a copy of what is not committed ([`crate::job::changes`] has its form).
pub const CHANGES_DIR: &str = "/alloy/changes";

/// The settings of git that the helper's script writes: no volume is mounted there. Those of git's environment do not
/// reach the process that serves a local repository, and that one minds whose it is.
pub const GIT_SETTINGS: &str = "/alloy/gitconfig";

/// What the helper does to get the sources in place.
#[derive(Clone, Debug, Default)]
pub struct GetSources<'a> {
    /// `clone`, `fetch` or `none`.
    pub strategy: &'a str,
    /// Where the sources go.
    pub directory: &'a str,
    /// Directories that every user of a container has to be able to write to.
    pub open: &'a [String],
    /// Paths below the directory that other volumes are mounted at: what is in them stays.
    pub kept: &'a [String],
    /// The operator's own commands, for before anything else.
    pub before: &'a str,
    /// What git fetches from, an address or a path.
    pub url: &'a str,
    /// Whether `url` is [`CHECKOUT_DIR`].
    pub local: bool,
    /// [`CHANGES_DIR`], or nothing.
    pub changes: &'a str,
    /// Who git is where the sources come from, the base64 of `user:password`.
    pub authorization: Option<Secret>,
    /// The scheme and host that this is for.
    pub site: &'a str,
    /// The proxies that git is to go through, as variables; an address may hold a password.
    pub proxies: &'a [(String, String)],
    /// What to fetch where neither branches nor tags lead to the commit.
    pub refspecs: &'a [String],
    /// What the remote `origin` is called afterwards.
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
    /// Certificates that git has to know beside the image's own, PEM.
    pub certificates: &'a str,
}

impl GetSources<'_> {
    /// The text for the helper's shell.
    #[must_use]
    pub fn text(&self) -> Word {
        // What is secret comes first, beside the here-document where the script is printed.
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
        // Before the operator's own commands: these may add settings.
        let _ = writeln!(
            head,
            "mkdir -p /alloy\nprintf '[safe]\\n\\tdirectory = *\\n' >{GIT_SETTINGS}"
        );
        if !self.before.is_empty() {
            let _ = writeln!(head, "set -e\neval {}", quote(self.before));
        }
        let open: Vec<String> = self.open.iter().map(|path| quote(path)).collect();
        let _ = writeln!(head, "set -- {}", open.join(" "));
        // As with a job's script: read whole before it runs, nothing left on standard input.
        secrets.then(format!(
            "{{\nexec </dev/null 2>&1\n{head}{}exit 0\n}}\n",
            include_str!("get-sources.sh")
        ))
    }
}
