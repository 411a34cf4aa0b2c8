//! What git is told by its environment.

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
