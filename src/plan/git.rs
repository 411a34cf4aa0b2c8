//! What git is told by its environment, in the helper and elsewhere: see also `job_git`.

use crate::job::files::Kind;
use crate::job::remote::Remote;
use crate::job::{Job, Origin};
use crate::script::GIT_SETTINGS;

/// Settings of the helper's git, in which no file in the image or in a volume has a say.
pub(super) fn helper_settings() -> Vec<(String, String)> {
    let mut settings = git_config([
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
pub(super) fn git_config<T: Into<String>>(
    settings: impl IntoIterator<Item = (T, T)>,
) -> Vec<(String, String)> {
    let mut count: usize = 0;
    let mut variables = vec![("GIT_CONFIG_COUNT".to_owned(), String::new())];
    for (key, value) in settings {
        variables.push((format!("GIT_CONFIG_KEY_{count}"), key.into()));
        variables.push((format!("GIT_CONFIG_VALUE_{count}"), value.into()));
        count += 1;
    }
    variables[0].1 = count.to_string();
    variables
}

/// The variable with the path of the certificates of the coordinator's host.
pub(super) const AUTHORITIES: &str = "CI_SERVER_TLS_CA_FILE";

/// The repository whose credentials a job gets for a `git fetch` of its own, if it gets them: GitLab's jobs do.
pub(super) fn lent(job: &Job) -> Option<&Remote> {
    match &job.sources.origin {
        Origin::Remote { remote, .. } if job.kind() == Kind::GitLab => Some(remote),
        _ => None,
    }
    .filter(|remote| remote.login.is_some())
}
