//! A command of docker's command line, typed and printable.
//!
//! A command is made by named constructors, never from a string. The arguments of the process and the printed line come
//! from the same words, so they cannot differ. No word is a secret: secret variables are passed in the environment of
//! the docker client, or in a file.

use std::time::Duration;

use super::client_names::may_lead_client;
use super::word::{Bindings, Slot, Word};
use crate::secret::Secret;

/// A docker command, without the program's name and the options that choose an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerCommand {
    pub(super) words: Vec<Word>,
    secrets: Vec<(String, Secret)>,
    /// Secrets whose names the client, or a script in its place, reads from its environment. They are passed in a file,
    /// one `NAME=value` on each line.
    pub(super) file_secrets: Vec<(String, Secret)>,
    /// The index in `words` for the option of that file.
    pub(super) file_at: usize,
}

impl DockerCommand {
    fn new(words: &[&str]) -> Self {
        Self {
            words: words.iter().map(|word| Word::from(*word)).collect(),
            secrets: Vec::new(),
            file_secrets: Vec::new(),
            file_at: words.len(),
        }
    }

    fn with(mut self, words: impl IntoIterator<Item = impl Into<Word>>) -> Self {
        self.words.extend(words.into_iter().map(Into::into));
        self
    }

    /// `docker version` of the engine, formatted by a Go template.
    #[must_use]
    pub fn version(format: &str) -> Self {
        Self::new(&["version", "--format", format])
    }

    /// `docker image inspect`, formatted by a Go template: a line for each image that exists.
    pub fn image_inspect(images: impl IntoIterator<Item = impl Into<Word>>, format: &str) -> Self {
        Self::new(&["image", "inspect", "--format", format, "--"]).with(images)
    }

    /// `docker pull`, of the image for this platform or the engine's own.
    pub fn pull(image: impl Into<Word>, platform: Option<&str>) -> Self {
        let platform = platform.into_iter();
        Self::new(&["pull", "--quiet"])
            .with(platform.flat_map(|platform| ["--platform", platform]))
            .operands(image, [""; 0])
    }

    /// `docker build` of a Dockerfile that comes over standard input, without a context.
    pub fn build(tag: impl Into<Word>) -> Self {
        // Without the option, docker's older builder keeps the container of a step that failed.
        Self::new(&["build", "--force-rm", "--tag"]).with([tag])
    }

    /// The last word of [`DockerCommand::build`]: everything comes over standard input.
    #[must_use]
    pub fn context_from_stdin(self) -> Self {
        self.with(["-"])
    }

    /// `docker save` of an image, to standard output.
    pub fn save(image: impl Into<Word>) -> Self {
        Self::new(&["save", "--"]).with([image])
    }

    /// `docker load` of images from standard input.
    #[must_use]
    pub fn load() -> Self {
        Self::new(&["load", "--quiet"])
    }

    /// `docker commit` of a container to an image, with a change in the syntax of a Dockerfile.
    pub fn commit(
        container: impl Into<Word>,
        image: impl Into<Word>,
        change: Option<&str>,
    ) -> Self {
        let change = change.into_iter().flat_map(|change| ["--change", change]);
        Self::new(&["commit"])
            .with(change)
            .operands(container, [image])
    }

    /// `docker cp` of a file or directory of this host into a container.
    pub fn copy_into(source: impl Into<Word>, container: impl Into<Word>, target: &str) -> Self {
        Self::new(&["cp", "--"]).with([source.into(), container.into().then(":").then(target)])
    }

    /// `docker network create`.
    #[must_use]
    pub fn network_create() -> Self {
        Self::new(&["network", "create"])
    }

    /// `docker network rm`.
    pub fn network_remove(networks: impl IntoIterator<Item = impl Into<Word>>) -> Self {
        Self::new(&["network", "rm", "--"]).with(networks)
    }

    /// `docker volume create`.
    #[must_use]
    pub fn volume_create() -> Self {
        Self::new(&["volume", "create"])
    }

    /// `docker volume rm`.
    pub fn volume_remove(volumes: impl IntoIterator<Item = impl Into<Word>>) -> Self {
        Self::new(&["volume", "rm", "--force", "--"]).with(volumes)
    }

    /// `docker create`, from an image on the engine.
    pub fn create(name: impl Into<Word>) -> Self {
        Self::new(&["create", "--pull", "never", "--name"]).with([name])
    }

    /// `docker run`, from an image on the engine.
    pub fn run(name: impl Into<Word>) -> Self {
        Self::new(&["run", "--pull", "never", "--name"]).with([name])
    }

    /// `docker start`, attached, with standard input.
    pub fn start_attached(container: impl Into<Word>) -> Self {
        Self::new(&["start", "--attach", "--interactive", "--"]).with([container])
    }

    /// `docker exec` with standard input. [`DockerCommand::operands`] adds the container and the command.
    #[must_use]
    pub fn exec() -> Self {
        Self::new(&["exec", "--interactive"])
    }

    /// Whether this is `docker exec`.
    #[must_use]
    pub fn is_exec(&self) -> bool {
        self.words
            .first()
            .is_some_and(|word| *word == Word::from("exec"))
    }

    /// `docker exec` on a terminal.
    #[must_use]
    pub fn exec_on_terminal() -> Self {
        Self::new(&["exec", "--interactive", "--tty"])
    }

    /// `docker container inspect`, formatted by a Go template.
    pub fn inspect(container: impl Into<Word>, format: &str) -> Self {
        Self::new(&["container", "inspect", "--format", format, "--"]).with([container])
    }

    /// `docker events` of one kind for a container, between two times: a word for each.
    pub fn events(container: impl Into<Word>, event: &str, since: &str, until: &str) -> Self {
        Self::new(&[
            "events",
            "--format",
            "{{.Action}}",
            "--filter",
            &format!("event={event}"),
        ])
        .option("--since", since)
        .option("--until", until)
        .option("--filter", Word::from("container=").then(container))
    }

    /// `docker events` of all containers that had a name, between two times: id, event and exit status, separated by
    /// tabs.
    pub fn history(container: impl Into<Word>, since: &str, until: &str) -> Self {
        let format = "{{.Actor.ID}}\t{{.Action}}\t{{.Actor.Attributes.exitCode}}";
        Self::new(&["events", "--format", format])
            .option("--since", since)
            .option("--until", until)
            .option("--filter", Word::from("container=").then(container))
    }

    /// `docker logs`, the last lines only.
    pub fn logs(container: impl Into<Word>, lines: u32) -> Self {
        Self::new(&["logs", "--tail", &lines.to_string(), "--"]).with([container])
    }

    /// `docker logs` from the beginning, until the container ends.
    pub fn follow_logs(container: impl Into<Word>) -> Self {
        Self::new(&["logs", "--follow", "--"]).with([container])
    }

    /// `docker stop`: TERM, and KILL after `grace`.
    pub fn stop(container: impl Into<Word>, grace: Duration) -> Self {
        // The long name of the option changed between clients.
        Self::new(&["stop", "-t", &grace.as_secs().to_string(), "--"]).with([container])
    }

    /// `docker kill`: sends a signal to the main process of a container.
    pub fn kill(container: impl Into<Word>, signal: &str) -> Self {
        Self::new(&["kill", "--signal", signal, "--"]).with([container])
    }

    /// `docker pause` of containers: nothing in them runs until they are unpaused.
    pub fn pause(containers: impl IntoIterator<Item = impl Into<Word>>) -> Self {
        Self::new(&["pause", "--"]).with(containers)
    }

    /// `docker unpause`.
    pub fn unpause(containers: impl IntoIterator<Item = impl Into<Word>>) -> Self {
        Self::new(&["unpause", "--"]).with(containers)
    }

    /// `docker rm` of containers, running or not, with their anonymous volumes.
    pub fn remove(containers: impl IntoIterator<Item = impl Into<Word>>) -> Self {
        Self::new(&["rm", "--force", "--volumes", "--"]).with(containers)
    }

    /// The same, but leaves their anonymous volumes.
    pub fn remove_without_volumes(containers: impl IntoIterator<Item = impl Into<Word>>) -> Self {
        Self::new(&["rm", "--force", "--"]).with(containers)
    }

    /// `docker image rm` of one or more images. Images that containers use are kept.
    pub fn image_remove(images: impl IntoIterator<Item = impl Into<Word>>) -> Self {
        Self::new(&["image", "rm", "--"]).with(images)
    }

    /// `docker container ls`, `docker image ls`, `docker network ls` or `docker volume ls` of all that has a label: a
    /// line for each.
    #[must_use]
    pub fn list(kind: &str, label: &str, format: &str) -> Self {
        let all: &[&str] = if kind == "container" {
            &["--all", "--no-trunc"]
        } else {
            &[]
        };
        Self::new(&[kind, "ls"]).with(all.iter().copied()).with([
            "--filter",
            &format!("label={label}"),
            "--format",
            format,
        ])
    }

    /// Adds an option without a value.
    #[must_use]
    pub fn flag(self, flag: &'static str) -> Self {
        self.with([flag])
    }

    /// Adds an option and its value.
    #[must_use]
    pub fn option(self, option: &'static str, value: impl Into<Word>) -> Self {
        self.with([option.into(), value.into()])
    }

    /// Sets a public variable in the container. Its value is in the argument list.
    #[must_use]
    pub fn env(self, name: &str, value: &str) -> Self {
        self.option("--env", format!("{name}={value}"))
    }

    /// Sets a secret variable in the container. Its value is not in the argument list.
    #[must_use]
    pub fn secret_env(mut self, name: &str, value: &Secret) -> Self {
        if may_lead_client(name) {
            self.file_secrets.push((name.to_owned(), value.clone()));
            self.file_at = self.words.len();
            return self;
        }
        self.secrets.push((name.to_owned(), value.clone()));
        self.option("--env", name)
    }

    /// Adds what is not an option: the image, container, network or volume, and a command.
    #[must_use]
    pub fn operands(
        self,
        first: impl Into<Word>,
        command: impl IntoIterator<Item = impl Into<Word>>,
    ) -> Self {
        self.with(["--"]).with([first]).with(command)
    }

    /// The arguments of the process. `env_file` is the path of a file with [`DockerCommand::file_secrets`].
    ///
    /// # Errors
    /// The first slot that is not bound.
    pub fn argv(&self, env_file: Option<&str>) -> Result<Vec<String>, Slot> {
        let none = Bindings::new();
        let mut argv = self
            .words
            .iter()
            .map(|word| word.bind(&none))
            .collect::<Result<Vec<_>, _>>()?;
        if let Some(path) = env_file {
            argv.splice(
                self.file_at..self.file_at,
                ["--env-file".to_owned(), path.to_owned()],
            );
        }
        Ok(argv)
    }

    /// The same command with the known slots filled in.
    #[must_use]
    pub fn bind(&self, bindings: &Bindings) -> Self {
        Self {
            words: self
                .words
                .iter()
                .map(|word| word.filled(bindings))
                .collect(),
            ..self.clone()
        }
    }

    /// About how many bytes of arguments and environment the process has, without the environment that the client gets
    /// from the runner.
    #[must_use]
    pub fn size(&self) -> usize {
        // Each has a NUL at its end, and a pointer to it.
        let each = 1 + size_of::<*const u8>();
        let words = self.words.iter().map(|word| word.length() + each);
        let secrets = self.secrets.iter();
        let secrets = secrets.map(|(name, value)| name.len() + 1 + value.expose().len() + each);
        words.chain(secrets).sum()
    }

    /// The secrets that have to be in the client's environment.
    #[must_use]
    pub fn secrets(&self) -> &[(String, Secret)] {
        &self.secrets
    }

    /// The secrets that have to be in an `--env-file`.
    #[must_use]
    pub fn file_secrets(&self) -> &[(String, Secret)] {
        &self.file_secrets
    }
}

#[cfg(test)]
mod tests {
    use super::DockerCommand;
    use crate::docker::word::Slot;

    #[test]
    fn an_unbound_slot_never_reaches_a_process() {
        assert_eq!(
            DockerCommand::start_attached(Slot::new("x")).argv(None),
            Err(Slot::new("x"))
        );
    }
}
