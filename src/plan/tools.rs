//! Commands of this executable in the helper, and what they are told.

use serde::Serialize;

use super::containers::Builder;
use super::helper_image::EXECUTABLE;
use crate::docker::{DockerCommand, Word};
use crate::helper::task::{Files, Proxies, VARIABLE};
use crate::job::variables::LONGEST_ARGUMENT;
use crate::outcome::InputError;
use crate::secret::{Secret, is_maskable};

/// The longest task that fits into its variable, beside the variable's name and `=`.
const LONGEST: usize = LONGEST_ARGUMENT - VARIABLE.len() - 1;

impl Builder<'_> {
    /// A command in the running helper, and its standard input: the task.
    ///
    /// # Errors
    /// [`InputError`] where it cannot be written as JSON.
    pub fn tool(
        &self,
        command: &'static str,
        task: &impl Serialize,
        secret: bool,
    ) -> Result<(DockerCommand, Word), InputError> {
        let text = json(task)?;
        let task = if secret {
            Word::secret(VARIABLE, &Secret::new(text))
        } else {
            Word::from(text)
        };
        Ok((
            self.tool_in(DockerCommand::exec(), command),
            task.then("\n"),
        ))
    }

    /// A command in the running helper whose standard input is something else than its task.
    ///
    /// # Errors
    /// As [`Builder::tool`], and where it is too long for a variable.
    pub fn tool_with_input(
        &self,
        command: &'static str,
        task: &impl Serialize,
    ) -> Result<DockerCommand, InputError> {
        let exec = DockerCommand::exec().env(VARIABLE, &short(json(task)?)?);
        Ok(self.tool_in(exec, command))
    }

    /// The proxies that a task has to know, if it sends anything.
    pub fn proxies(&self, sends: bool) -> Proxies {
        let proxies = self.host.proxies.iter().filter(|_| sends);
        proxies.cloned().collect()
    }

    fn tool_in(&self, exec: DockerCommand, command: &'static str) -> DockerCommand {
        exec.operands(self.names.container("helper"), [EXECUTABLE, command])
    }

    /// What a job selects, its variables expanded.
    pub fn files(&self, paths: &[String], untracked: bool, exclude: &[String]) -> Files {
        let expanded = |paths: &[String]| {
            let paths = paths.iter().map(|path| self.variables.expand(path));
            paths.filter(|path| !path.is_empty()).collect()
        };
        Files {
            paths: expanded(paths),
            untracked,
            exclude: expanded(exclude),
        }
    }

    /// Whether one of these texts has a secret variable's value in it.
    pub fn shows_secret<'t>(&self, texts: impl IntoIterator<Item = &'t str>) -> bool {
        let secrets = || {
            let secret = self.variables.iter().filter(|variable| !variable.public);
            let values = secret.map(|variable| variable.value.expose());
            values.filter(|value| is_maskable(value))
        };
        texts
            .into_iter()
            .any(|text| secrets().any(|secret| text.contains(secret)))
    }
}

fn json(task: &impl Serialize) -> Result<String, InputError> {
    serde_json::to_string(task).map_err(|error| {
        InputError::new(format!(
            "caches and artifacts cannot be written as JSON: {error}"
        ))
    })
}

fn short(text: String) -> Result<String, InputError> {
    if text.len() > LONGEST {
        return Err(InputError::new(format!(
            "what caches and artifacts say is {} bytes long, and {LONGEST} fit; use patterns for their paths",
            text.len()
        )));
    }
    Ok(text)
}
