//! What git is told, by its environment and by the helper's script.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::containers::Builder;
use crate::job::variables::Variables;
use crate::job::{Job, Origin};
use crate::script::{CHANGES_DIR, CHECKOUT_DIR, GIT_SETTINGS, GetSources};
use crate::secret::Secret;

/// Who git is where the sources come from, as HTTP has it: the base64 of `user:password`.
pub(super) fn authorization(job: &Job) -> Option<Secret> {
    let Origin::Remote { remote, .. } = &job.sources.origin else {
        return None;
    };
    let (user, password) = remote.login.as_ref()?;
    Some(Secret::new(
        STANDARD.encode(format!("{user}:{}", password.expose())),
    ))
}

/// Settings of the helper's git, in which no file in the image or in a volume has a say.
pub(super) fn helper_settings() -> Vec<(String, String)> {
    let mut settings = git_config(&[
        ("advice.detachedHead", "false"),
        // On a disk, several processes make files in a third of the time; in memory, not later.
        ("checkout.workers", "4"),
        ("core.fsmonitor", "false"),
        ("core.hooksPath", "/dev/null"),
        ("gc.auto", "0"),
        ("init.defaultBranch", "main"),
        ("maintenance.auto", "false"),
        // Whatever a `git-remote-…` in the image could do, only these are asked for; a local path only by us, by
        // no submodule.
        ("protocol.allow", "never"),
        ("protocol.file.allow", "user"),
        ("protocol.git.allow", "always"),
        ("protocol.http.allow", "always"),
        ("protocol.https.allow", "always"),
        ("protocol.ssh.allow", "always"),
        ("uploadpack.allowAnySHA1InWant", "true"),
    ]);
    // A home directory may be on a volume, and a repository may have other contents in place of a commit's.
    for (name, value) in [
        ("GIT_CONFIG_GLOBAL", GIT_SETTINGS),
        ("GIT_NO_REPLACE_OBJECTS", "1"),
    ] {
        settings.push((name.to_owned(), value.to_owned()));
    }
    settings
}

/// Settings for git as variables of its environment.
fn git_config(settings: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut variables = vec![("GIT_CONFIG_COUNT".to_owned(), settings.len().to_string())];
    for (index, (key, value)) in settings.iter().enumerate() {
        variables.push((format!("GIT_CONFIG_KEY_{index}"), (*key).to_owned()));
        variables.push((format!("GIT_CONFIG_VALUE_{index}"), (*value).to_owned()));
    }
    variables
}

/// Settings of the build's git, which takes the sources for somebody else's, since the helper fetched them.
pub(super) fn build_settings(variables: &Variables) -> Vec<(String, String)> {
    let own = variables
        .iter()
        .any(|variable| variable.name.starts_with("GIT_CONFIG_"));
    if own {
        Vec::new()
    } else {
        git_config(&[("safe.directory", "*")])
    }
}

impl Builder<'_> {
    /// What the helper's script for the sources has to know.
    pub fn sources<'b>(&'b self, open: &'b [String], kept: &'b [String]) -> GetSources<'b> {
        let mut site = "";
        let mut changes = "";
        let (url, local, remote, refspecs) = match &self.job.sources.origin {
            Origin::Checkout {
                remote,
                changes: uncommitted,
                ..
            } => {
                if uncommitted.is_some() {
                    changes = CHANGES_DIR;
                }
                let remote = remote.as_deref().unwrap_or(CHECKOUT_DIR);
                (CHECKOUT_DIR, true, remote, &[][..])
            }
            Origin::Remote { remote, refspecs } => {
                site = &remote.site;
                (
                    remote.address.as_str(),
                    false,
                    remote.address.as_str(),
                    &refspecs[..],
                )
            }
        };
        GetSources {
            strategy: self.settings.strategy,
            directory: &self.layout.directory,
            open,
            kept,
            url,
            local,
            remote,
            refspecs,
            site,
            authorization: authorization(self.job),
            proxies: &self.host.proxies,
            changes,
            sha: &self.job.sources.sha,
            ref_name: &self.job.sources.ref_name,
            depth: self.settings.depth,
            checkout: self.settings.checkout,
            submodules: self.settings.submodules,
            certificates: "",
            before: "",
        }
    }
}
