//! The helper's script that fetches the sources.

use std::fmt::Write as _;

use super::quote::{quote, quote_secret};
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
    /// `clone`, `fetch`, `none` or `empty`.
    pub strategy: &'a str,
    /// The directory of the sources.
    pub directory: &'a str,
    /// Directories that all users of the containers must be able to write to.
    pub open: &'a [String],
    /// Paths below the directory at which other volumes are mounted: their contents are kept.
    pub kept: &'a [String],
    /// Commands of the configuration that run first.
    pub before: &'a str,
    /// Commands of the configuration that run last, in the directory of the sources.
    pub after: &'a str,
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
    /// The coordinator's refspecs.
    pub refspecs: &'a [String],
    /// They are all that is fetched. Otherwise that is branches and tags, or the commit alone; and the refspecs if these do
    /// not contain it.
    pub by_refspecs: bool,
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
    /// Options of `git fetch`.
    pub fetch_options: &'a [String],
    /// More of them where there is nothing to start from.
    pub clone_options: &'a [String],
    /// Options of `git clean`; `None`: it is not run.
    pub clean_options: Option<&'a [String]>,
    /// `none`, `normal` or `recursive`.
    pub submodules: &'a str,
    /// How many commits of a submodule's history; 0: all.
    pub submodule_depth: u32,
    /// Options of `git submodule update`.
    pub submodule_options: &'a [String],
    /// Which submodules; none: all of them.
    pub submodule_paths: &'a [String],
    /// A directory for the job's own files, which is made new. Empty: none.
    pub temporary: String,
    /// More settings of the helper's git, as a file of git's.
    pub settings: String,
    /// Settings that the repositories get for the job's git, as a file of git's.
    pub job_settings: String,
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
        self.write_more(&mut head);
        let kept = self
            .kept
            .iter()
            .fold(String::from("|"), |kept, path| kept + path + "|");
        let _ = writeln!(head, "kept={}", quote(&kept));
        // Before the commands of the configuration, which may add settings.
        let settings = quote(&format!("[safe]\n\tdirectory = *\n{}", self.settings));
        let _ = writeln!(
            head,
            "mkdir -p /alloy\nprintf %s {settings} >{GIT_SETTINGS}"
        );
        if !self.before.is_empty() {
            let _ = writeln!(head, "set -e\neval {}", quote(self.before));
        }
        let open: Vec<String> = self.open.iter().map(|path| quote(path)).collect();
        let _ = writeln!(head, "set -- {}", open.join(" "));
        // As in a job's script: the shell reads all of it before it runs, and standard input is at its end.
        let fetch = include_str!("get-sources.sh");
        let body = if self.after.is_empty() {
            format!("{head}{fetch}")
        } else {
            // It may end by itself, and what it sets is not for these commands.
            let after = quote(self.after);
            format!(
                "{head}set +e\n(\n{fetch})\nstatus=$?\n[ $status = 0 ] || exit $status\nset -e\ncd \"$directory\"\n\
                 eval {after}\n"
            )
        };
        secrets.then(format!("{{\nexec </dev/null 2>&1\n{body}exit 0\n}}\n"))
    }

    /// What only some jobs say, and git's commands with the options that jobs may give.
    fn write_more(&self, head: &mut String) {
        // A commit's id tells the format of its repository's objects.
        let format = if self.sha.len() == 64 { "sha256" } else { "" };
        let depth = self.submodule_depth;
        let depth = if depth == 0 {
            String::new()
        } else {
            depth.to_string()
        };
        for (name, value) in [
            ("object_format", format),
            ("by_refspecs", if self.by_refspecs { "yes" } else { "" }),
            ("submodule_depth", &depth),
            ("temporary", &self.temporary),
            ("job_settings", &self.job_settings),
        ] {
            let _ = writeln!(head, "{name}={}", quote(value));
        }
        let words = |words: &[String]| {
            let words = words.iter().map(|word| format!("{} ", quote(word)));
            words.collect::<String>()
        };
        let clone = words(self.clone_options);
        let clone = if clone.is_empty() {
            clone
        } else {
            format!("[ -z \"$cloned\" ] || set -- {clone}\"$@\"; ")
        };
        let fetch = words(self.fetch_options);
        let _ = writeln!(
            head,
            "fetch() {{ {clone}git fetch --force --update-shallow {fetch}\"$@\"; }}"
        );
        let clean = match self.clean_options {
            Some(options) => format!("git clean {}\"$@\"", words(options)),
            None => ":".to_owned(),
        };
        let _ = writeln!(head, "clean() {{ {clean}; }}");
        let update = words(self.submodule_options);
        let paths = words(self.submodule_paths);
        let paths = if paths.is_empty() {
            paths
        } else {
            format!(" -- {}", paths.trim_end())
        };
        let _ = writeln!(
            head,
            "update_submodules() {{ git submodule --quiet update --init --force {update}\"$@\"{paths}; }}"
        );
    }
}

#[cfg(test)]
mod tests;
