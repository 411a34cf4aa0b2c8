//! The steps of a payload: the job's scripts, what follows them, and the hooks around its sources.

use std::time::Duration;

use serde::Deserialize;

use super::value;
use crate::job::files::Kind;
use crate::job::{Hooks, Release};
use crate::outcome::InputError;

/// A script with its name.
#[derive(Deserialize)]
pub(super) struct Step {
    name: Option<String>,
    #[serde(default, deserialize_with = "value::words")]
    script: Option<Vec<String>>,
    timeout: Option<u64>,
}

/// A hook with its name.
#[derive(Deserialize)]
pub(super) struct Hook {
    name: Option<String>,
    #[serde(default, deserialize_with = "value::words")]
    script: Option<Vec<String>>,
}

/// The commands around the sources.
///
/// # Errors
/// [`InputError`] for a hook that has another name.
pub(super) fn hooks(sent: Vec<Hook>) -> Result<Hooks, InputError> {
    let mut hooks = Hooks::default();
    for hook in sent {
        let commands = hook.script.unwrap_or_default();
        match hook.name.as_deref().unwrap_or_default() {
            "pre_get_sources_script" => hooks.pre_get_sources.extend(commands),
            "post_get_sources_script" => hooks.post_get_sources.extend(commands),
            _ if commands.is_empty() => {}
            name => {
                return Err(InputError::new(format!(
                    "the job cannot be run: it has the hook `{}`, which this runner cannot run; use `before_script`",
                    name.escape_debug()
                )));
            }
        }
    }
    Ok(hooks)
}

/// What a job runs, and how long each may take by itself.
#[derive(Default)]
pub(super) struct Scripts {
    pub script: Vec<String>,
    pub script_timeout: Option<Duration>,
    pub releases: Vec<Release>,
    pub after_script: Vec<String>,
    pub after_script_timeout: Option<Duration>,
}

impl Scripts {
    /// Reads the steps. GitLab's have one of three names. `AlloyCI` may call those of its script what it likes.
    ///
    /// # Errors
    /// [`InputError`] for a step of GitLab's that has another name.
    pub fn read(steps: Vec<Step>, kind: Kind) -> Result<Self, InputError> {
        let mut scripts = Self::default();
        for step in steps {
            let commands = step.script.unwrap_or_default();
            let timeout = value::seconds(step.timeout);
            match (step.name.as_deref().unwrap_or("script"), kind) {
                ("after_script", _) => {
                    scripts.after_script.extend(commands);
                    scripts.after_script_timeout = timeout;
                }
                ("release", Kind::GitLab) => scripts.releases.push(Release {
                    script: commands,
                    timeout,
                }),
                ("script", _) | (_, Kind::AlloyCi) => {
                    scripts.script.extend(commands);
                    // One script is made of them.
                    let timeouts = scripts.script_timeout.into_iter().chain(timeout);
                    scripts.script_timeout = timeouts.reduce(Duration::saturating_add);
                }
                (name, Kind::GitLab) => {
                    return Err(InputError::new(format!(
                        "the job cannot be run: it has the step `{}`, which this runner does not know: script, release, \
                         after_script",
                        name.escape_debug()
                    )));
                }
            }
        }
        Ok(scripts)
    }
}
