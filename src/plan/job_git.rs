//! What the git of the job itself is told, in the build container: whose sources it may use, and how it finds credentials
//! and certificates for where they come from; and where submodules are, which the helper's git is told too.

use std::fmt::Write as _;

use super::containers::Builder;
use super::git::git_config;
use super::variables::AUTHORITIES;
use crate::docker::DockerCommand;
use crate::job::files::Kind;
use crate::job::remote::{Remote, is_host};
use crate::job::{Job, Origin};
use crate::script::GitLogin;

/// The repository whose credentials a job gets for a `git fetch` of its own, if it gets them: GitLab's jobs do.
pub(super) fn lent(job: &Job) -> Option<&Remote> {
    match &job.sources.origin {
        Origin::Remote { remote, .. } if job.kind() == Kind::GitLab => Some(remote),
        _ => None,
    }
    .filter(|remote| remote.login.is_some())
}

/// A setting that counts for an address.
struct Setting {
    section: &'static str,
    address: String,
    key: &'static str,
    value: String,
}

/// Settings as a file of git's.
fn file(settings: &[Setting]) -> String {
    let quoted = |text: &str| text.replace('\\', r"\\").replace('"', "\\\"");
    let mut text = String::new();
    for Setting {
        section,
        address,
        key,
        value,
    } in settings
    {
        let (address, value) = (quoted(address), quoted(value));
        let _ = writeln!(text, "[{section} \"{address}\"]\n\t{key} = \"{value}\"");
    }
    text
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

    /// Adds settings of the build's git, as variables of its environment, which submodules and other repositories of the job
    /// get from nowhere else. The helper's user fetched the sources, so git would refuse them for their owner.
    pub fn tell_git(&self, run: DockerCommand) -> DockerCommand {
        let mut variables = self.variables.iter();
        if variables.any(|variable| variable.name.starts_with("GIT_CONFIG_")) {
            return run;
        }
        let mut settings = vec![("safe.directory".to_owned(), "*".to_owned())];
        settings.extend(self.lent_settings().into_iter().map(|setting| {
            let Setting {
                section,
                address,
                key,
                value,
            } = setting;
            (format!("{section}.{address}.{key}"), value)
        }));
        let settings = git_config(settings).into_iter();
        settings.fold(run, |run, (name, value)| run.env(&name, &value))
    }

    /// The same for git before 2.31, which knows no such variables: in the files of the job's repositories. Nothing in
    /// them is a secret.
    pub fn job_settings(&self) -> String {
        file(&self.lent_settings())
    }

    /// Settings of the helper's git, beside those of its environment.
    pub fn addresses(&self) -> String {
        file(&self.address_settings())
    }

    /// How git finds the credentials and the certificates of where the sources come from, and submodules there.
    fn lent_settings(&self) -> Vec<Setting> {
        let (Some(remote), Some(login)) = (lent(self.job), self.login()) else {
            return Vec::new();
        };
        let of_site = |section, key, value| Setting {
            section,
            address: remote.site.clone(),
            key,
            value,
        };
        let mut settings = self.address_settings();
        settings.push(of_site("credential", "helper", login.helper()));
        if self.variables.get(AUTHORITIES).is_some() {
            let path = format!("{}/{AUTHORITIES}", self.layout.files);
            settings.push(of_site("http", "sslCAInfo", path));
        }
        settings
    }

    /// Where git finds submodules of the coordinator's host that have an address for ssh.
    fn address_settings(&self) -> Vec<Setting> {
        let Origin::Remote { remote, .. } = &self.job.sources.origin else {
            return Vec::new();
        };
        if !self.settings.git.force_https || !remote.site.starts_with("http") {
            return Vec::new();
        }
        let known = |name: &str| self.variables.get(name).map(str::trim).unwrap_or_default();
        let own = remote.site.split_once("://").map_or("", |(_, host)| host);
        let own = own.split_once(':').map_or(own, |(host, _)| host);
        let mut hosts = [
            own,
            known("CI_SERVER_HOST"),
            known("CI_SERVER_SHELL_SSH_HOST"),
        ]
        .to_vec();
        hosts.retain(|host| is_host(host));
        hosts.sort_unstable();
        hosts.dedup();
        let port = Some(known("CI_SERVER_SHELL_SSH_PORT"));
        let port =
            port.filter(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
        let addresses = hosts.iter().flat_map(|host| {
            let usual = [format!("git@{host}:"), format!("ssh://git@{host}/")];
            let other = port.map(|port| format!("ssh://git@{host}:{port}/"));
            usual.into_iter().chain(other)
        });
        // GitLab may have its projects below a path.
        let end = format!("/{}.git", known("CI_PROJECT_PATH"));
        let base = remote.address.strip_suffix(&end).unwrap_or(&remote.site);
        let setting = |value| Setting {
            section: "url",
            address: format!("{base}/"),
            key: "insteadOf",
            value,
        };
        addresses.map(setting).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Setting, file};

    #[test]
    fn values_are_quoted_as_git_reads_them() {
        let setting = |address: &str, value: &str| Setting {
            section: "url",
            address: address.to_owned(),
            key: "insteadOf",
            value: value.to_owned(),
        };
        assert_eq!(
            file(&[setting("https://h/a\"b/", "git@h:"), setting("x", r"a\b")]),
            "[url \"https://h/a\\\"b/\"]\n\tinsteadOf = \"git@h:\"\n[url \"x\"]\n\tinsteadOf = \"a\\\\b\"\n"
        );
    }
}
