//! What git is told by its environment, in the helper and in the build container, and by files with its settings.

use std::fmt::Write as _;

use super::containers::Builder;
use crate::job::files::Kind;
use crate::job::remote::{Remote, is_host};
use crate::job::variables::Variables;
use crate::job::{Job, Origin};
use crate::script::{GIT_SETTINGS, GitLogin};

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

/// Settings of the build's git. The helper's user fetched the sources, so git would refuse them for their owner.
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

impl Builder<'_> {
    /// The credentials for the job's own git, and the file that its script writes them to.
    pub fn login(&self) -> Option<GitLogin> {
        let (user, password) = lent(self.job)?.login.clone()?;
        // git has a line for each.
        let fits = |text: &str| !text.contains(char::is_control);
        (fits(&user) && fits(password.expose())).then(|| GitLogin {
            directory: self.layout.files.clone(),
            user,
            password,
        })
    }

    /// Settings of the helper's git: where it finds submodules of the coordinator's host that have another address.
    pub fn addresses(&self) -> String {
        let Origin::Remote { remote, .. } = &self.job.sources.origin else {
            return String::new();
        };
        if !self.settings.git.force_https {
            return String::new();
        }
        let known = |name: &str| self.variables.get(name).map(str::trim);
        let own = remote.site.split_once("://").map(|(_, host)| host);
        let hosts = [
            own,
            known("CI_SERVER_HOST"),
            known("CI_SERVER_SHELL_SSH_HOST"),
        ];
        let mut hosts: Vec<&str> = hosts
            .into_iter()
            .flatten()
            .filter(|host| is_host(host))
            .collect();
        hosts.sort_unstable();
        hosts.dedup();
        let port = known("CI_SERVER_SHELL_SSH_PORT");
        let port =
            port.filter(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
        let mut addresses: Vec<String> = Vec::new();
        for host in hosts {
            addresses.extend([format!("git@{host}:"), format!("ssh://git@{host}/")]);
            addresses.extend(port.map(|port| format!("ssh://git@{host}:{port}/")));
        }
        // GitLab may have its projects below a path.
        let end = format!("/{}.git", known("CI_PROJECT_PATH").unwrap_or_default());
        let base = remote.address.strip_suffix(&end).unwrap_or(&remote.site);
        section(
            "url",
            &format!("{base}/"),
            addresses
                .iter()
                .map(|address| ("insteadOf", address.as_str())),
        )
    }

    /// Settings that the job's own git finds in its repositories. Nothing in them is a secret.
    pub fn job_settings(&self) -> String {
        let (Some(remote), Some(login)) = (lent(self.job), self.login()) else {
            return String::new();
        };
        let mut settings = self.addresses();
        settings += &section(
            "credential",
            &remote.site,
            [("helper", login.helper().as_str())],
        );
        if self.variables.get(AUTHORITIES).is_some() {
            let file = format!("{}/{AUTHORITIES}", self.layout.files);
            settings += &section("http", &remote.site, [("sslCAInfo", file.as_str())]);
        }
        settings
    }
}

/// A section of a file with git's settings, for an address.
fn section<'s>(
    name: &str,
    address: &str,
    values: impl IntoIterator<Item = (&'s str, &'s str)>,
) -> String {
    let quoted = |text: &str| text.replace('\\', r"\\").replace('"', "\\\"");
    let mut text = format!("[{name} \"{}\"]\n", quoted(address));
    for (key, value) in values {
        let _ = writeln!(text, "\t{key} = \"{}\"", quoted(value));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::section;

    #[test]
    fn values_are_quoted_as_git_reads_them() {
        assert_eq!(
            section(
                "url",
                "https://h/a\"b/",
                [("insteadOf", "git@h:"), ("x", r"a\b")]
            ),
            "[url \"https://h/a\\\"b/\"]\n\tinsteadOf = \"git@h:\"\n\tx = \"a\\\\b\"\n"
        );
    }
}
