//! One call of the docker command line, typed and printable.
//!
//! A command is made by its named constructors and never from a string. The process and the printed line
//! come from the same words, so they cannot drift. No secret is among the words: secret variables travel
//! in the docker client's environment.

use std::fmt::Write as _;
use std::time::Duration;

use super::word::{Bindings, Piece, Slot, Word, is_hidden};
use crate::secret::Secret;

/// A docker command line, without the program's name and without the options that say which engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerCommand {
    words: Vec<Word>,
    secrets: Vec<(String, Secret)>,
    /// Secrets whose names the client or a script in its place reads: they go through a file, one `NAME=value` a line.
    file_secrets: Vec<(String, Secret)>,
    /// Where among `words` the option of that file belongs.
    file_at: usize,
}

/// Names that the docker client (or the loader, or its libraries) reads from its environment.
const CLIENT_NAMES: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "TERM",
    "LANG",
    "TZ",
    "TMPDIR",
    "NO_COLOR",
    "COLUMNS",
    "LINES",
    "HOSTALIASES",
    "LOCALDOMAIN",
    "RES_OPTIONS",
    "ALL_PROXY",
    "TMP",
    "TEMP",
];
const CLIENT_PREFIXES: &[&str] = &[
    "DOCKER_",
    "SSL_",
    "SSH_",
    "LD_",
    "LC_",
    "XDG_",
    "GO",
    "BUILDKIT_",
    "BUILDX_",
    "MOBY_",
    "OTEL_",
    "MALLOC_",
    "GLIBC_",
    "NSS_",
];

/// Whether the docker client's own behaviour may depend on the environment variable of this name. Those
/// are what it gets of the runner's environment, and no job may set any of them there ([`may_lead_client`]).
#[must_use]
pub fn client_reads(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    CLIENT_NAMES.contains(&upper.as_str())
        || upper.ends_with("_PROXY")
        || CLIENT_PREFIXES
            .iter()
            .any(|prefix| upper.starts_with(prefix))
}

/// What shells and interpreters read as they start, and podman: the `docker` of a host may be a script, as podman's
/// is. `SHELLOPTS=xtrace` with a command in `PS4`, for one, would run it on the host.
const SCRIPT_NAMES: &[&str] = &[
    "ENV",
    "PS4",
    "IFS",
    "CDPATH",
    "GLOBIGNORE",
    "POSIXLY_CORRECT",
    "SHELLOPTS",
    "BASHOPTS",
    "GCONV_PATH",
    "LOCPATH",
    "NLSPATH",
    "TZDIR",
    "JAVA_TOOL_OPTIONS",
    "REGISTRY_AUTH_FILE",
    "NOTIFY_SOCKET",
    "LISTEN_FDS",
    "LISTEN_PID",
];
const SCRIPT_PREFIXES: &[&str] = &[
    "BASH_",
    "PERL",
    "PYTHON",
    "RUBY",
    "NODE_",
    "GRPC_",
    "CONTAINER",
    "BUILDAH_",
    "PODMAN_",
    "STORAGE_",
];

/// Whether a job's variable of this name stays out of the environment of the client, and so of whatever stands in
/// for it.
#[must_use]
pub fn may_lead_client(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    client_reads(name)
        || SCRIPT_NAMES.contains(&upper.as_str())
        || SCRIPT_PREFIXES
            .iter()
            .any(|prefix| upper.starts_with(prefix))
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

    /// `docker version`, of the engine, by a Go template.
    #[must_use]
    pub fn version(format: &str) -> Self {
        Self::new(&["version", "--format", format])
    }

    /// `docker image inspect`, by a Go template: a line for each image that is there.
    pub fn image_inspect(images: impl IntoIterator<Item = impl Into<Word>>, format: &str) -> Self {
        Self::new(&["image", "inspect", "--format", format, "--"]).with(images)
    }

    /// `docker pull`.
    pub fn pull(image: impl Into<Word>) -> Self {
        Self::new(&["pull", "--quiet", "--"]).with([image])
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

    /// `docker commit` of a container to an image, with a change in the words of a Dockerfile.
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

    /// `docker create`, of an image that is there.
    pub fn create(name: impl Into<Word>) -> Self {
        Self::new(&["create", "--pull", "never", "--name"]).with([name])
    }

    /// `docker run`, of an image that is there.
    pub fn run(name: impl Into<Word>) -> Self {
        Self::new(&["run", "--pull", "never", "--name"]).with([name])
    }

    /// `docker start`, attached, with standard input.
    pub fn start_attached(container: impl Into<Word>) -> Self {
        Self::new(&["start", "--attach", "--interactive", "--"]).with([container])
    }

    /// `docker exec` with standard input. What it is to run follows by [`DockerCommand::operands`].
    #[must_use]
    pub fn exec() -> Self {
        Self::new(&["exec", "--interactive"])
    }

    /// Whether it runs something in a container that is there.
    #[must_use]
    pub fn is_exec(&self) -> bool {
        self.words
            .first()
            .is_some_and(|word| *word == Word::from("exec"))
    }

    /// [`DockerCommand::shell_line`] for pasting: a command that reads its standard input, and gets none, leaves the
    /// lines alone that follow it.
    #[must_use]
    pub fn pasted_line(&self, program: &Words, stdin: Option<&Word>, end: &str) -> String {
        let none = self.reads_stdin() && stdin.is_none() && !end.contains(" <");
        let end = if none {
            format!(" </dev/null{end}")
        } else {
            end.to_owned()
        };
        self.shell_line(program, stdin, &end)
    }

    /// Whether it reads its standard input, which is no terminal.
    fn reads_stdin(&self) -> bool {
        let mut words = self.words.iter().map(ToString::to_string);
        let begin: Vec<String> = words.by_ref().take(3).collect();
        match begin.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["exec", "--interactive", third] => third != "--tty",
            ["start", _, "--interactive"] => true,
            _ => false,
        }
    }

    /// `docker exec` on a terminal.
    #[must_use]
    pub fn exec_on_terminal() -> Self {
        Self::new(&["exec", "--interactive", "--tty"])
    }

    /// `docker inspect` of a container, by a Go template.
    pub fn inspect(container: impl Into<Word>, format: &str) -> Self {
        Self::new(&["container", "inspect", "--format", format, "--"]).with([container])
    }

    /// `docker events` of one kind of a container, a word each, between two times.
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

    /// `docker events` of the containers of a name between two times: id, event and exit status, with tabs between.
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

    /// `docker logs`, all of it and what comes.
    pub fn follow_logs(container: impl Into<Word>) -> Self {
        Self::new(&["logs", "--follow", "--"]).with([container])
    }

    /// `docker stop`: TERM, and KILL after `grace`.
    pub fn stop(container: impl Into<Word>, grace: Duration) -> Self {
        // The long name of the option changed between clients.
        Self::new(&["stop", "-t", &grace.as_secs().to_string(), "--"]).with([container])
    }

    /// `docker kill`: a signal to what the container was made to run.
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

    /// `docker rm` of containers, whatever they do, with their anonymous volumes.
    pub fn remove(containers: impl IntoIterator<Item = impl Into<Word>>) -> Self {
        Self::new(&["rm", "--force", "--volumes", "--"]).with(containers)
    }

    /// `docker image rm`, of a name or several. Images that containers have are left.
    pub fn image_remove(images: impl IntoIterator<Item = impl Into<Word>>) -> Self {
        Self::new(&["image", "rm", "--"]).with(images)
    }

    /// `docker container ls`, `docker image ls`, `docker network ls` or `docker volume ls`: what carries a label, a line each.
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

    /// Sets a variable in the container. It stands in the argument list for all to see.
    #[must_use]
    pub fn env(self, name: &str, value: &str) -> Self {
        self.option("--env", format!("{name}={value}"))
    }

    /// Sets a variable in the container whose value nobody is to see.
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

    /// What is not an option: the image, container, network or volume, and the command in it.
    #[must_use]
    pub fn operands(
        self,
        first: impl Into<Word>,
        command: impl IntoIterator<Item = impl Into<Word>>,
    ) -> Self {
        self.with(["--"]).with([first]).with(command)
    }

    /// The arguments for a process.
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

    /// How much room arguments and environment take in a process, without the client's own, about.
    #[must_use]
    pub fn size(&self) -> usize {
        // Each has a NUL behind it, and a pointer to it.
        let each = 1 + size_of::<*const u8>();
        let words = self.words.iter().map(|word| word.length() + each);
        let secrets = self.secrets.iter();
        let secrets = secrets.map(|(name, value)| name.len() + 1 + value.expose().len() + each);
        words.chain(secrets).sum()
    }

    /// Variables that the client's environment has to hold.
    #[must_use]
    pub fn secrets(&self) -> &[(String, Secret)] {
        &self.secrets
    }

    /// Variables that belong into an `--env-file`.
    #[must_use]
    pub fn file_secrets(&self) -> &[(String, Secret)] {
        &self.file_secrets
    }

    /// The command as a POSIX shell reads it, on one line, except for its standard input, which follows as
    /// a here-document. Secrets are names of variables that the shell must have.
    #[must_use]
    pub fn shell_line(&self, program: &Words, stdin: Option<&Word>, end: &str) -> String {
        let mut words: Vec<String> = self.words.iter().map(ToString::to_string).collect();
        let mut documents = String::new();
        let mut redirections = String::new();
        if !self.file_secrets.is_empty() {
            words.splice(
                self.file_at..self.file_at,
                ["--env-file".to_owned(), "/dev/fd/3".to_owned()],
            );
            redirections.push_str(" 3<<VARIABLES");
            for (name, _) in &self.file_secrets {
                let _ = writeln!(documents, "{name}=${name}");
            }
            documents.push_str("VARIABLES\n");
        }
        let mut before = String::new();
        if let Some(Word(pieces)) = stdin {
            let (last, heads) = match pieces.split_last() {
                Some((Piece::Literal(last), heads)) => (last.as_str(), heads),
                _ => ("", pieces.as_slice()),
            };
            let mut delimiter = "SCRIPT".to_owned();
            while last.lines().any(|line| line == delimiter) {
                delimiter.push('_');
            }
            let document = format!("{last}{delimiter}\n");
            let hidden =
                |piece: &Piece| matches!(piece, Piece::Literal(text) if text.contains(is_hidden));
            if pieces.iter().any(hidden) {
                // A document shows everything as it is.
                before = format!("printf %s {} | ", Word(pieces.clone()));
            } else if heads.is_empty() {
                let _ = write!(redirections, " <<'{delimiter}'");
                documents.push_str(&document);
            } else {
                before = format!(
                    "{{ printf %s {}; cat <<'{delimiter}'; }} | ",
                    Word(heads.to_vec())
                );
                documents.insert_str(0, &document);
            }
        }
        format!(
            "{before}{program} {}{redirections}{end}\n{documents}",
            words.join(" ")
        )
        .trim_end()
        .to_owned()
    }
}

/// The program and the options that come before every command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words(pub Vec<String>);

impl std::fmt::Display for Words {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words: Vec<String> = self
            .0
            .iter()
            .map(|word| Word::from(word).to_string())
            .collect();
        f.write_str(&words.join(" "))
    }
}

impl std::fmt::Display for DockerCommand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shell_line(&Words(vec!["docker".to_owned()]), None, ""))
    }
}

#[cfg(test)]
mod tests {
    use super::{DockerCommand, Words, client_reads, may_lead_client};
    use crate::docker::word::{Slot, Word};
    use crate::secret::Secret;

    #[test]
    fn secrets_stand_in_neither_arguments_nor_line() {
        let command = DockerCommand::run("c")
            .env("A", "it's")
            .secret_env("TOKEN", &Secret::new("hunter2"))
            .secret_env("DOCKER_TOKEN", &Secret::new("hunter3"))
            .operands("--privileged", ["sh"]);
        let argv = command.argv(Some("/f")).expect("no slots").join(" ");
        assert_eq!(
            argv,
            "run --pull never --name c --env A=it's --env TOKEN --env-file /f -- --privileged sh"
        );
        let line = command.to_string();
        assert!(!line.contains("hunter"), "{line}");
        assert_eq!(
            line,
            "docker run --pull never --name c --env 'A=it'\\''s' --env TOKEN --env-file /dev/fd/3 -- --privileged sh \
             3<<VARIABLES\nDOCKER_TOKEN=$DOCKER_TOKEN\nVARIABLES"
        );
    }

    #[test]
    fn standard_input_is_a_here_document_that_its_text_cannot_end() {
        let docker = Words(vec!["docker".to_owned()]);
        let line = DockerCommand::start_attached("c").shell_line(
            &docker,
            Some(&Word::from("SCRIPT\n$x\n")),
            "",
        );
        assert_eq!(
            line,
            "docker start --attach --interactive -- c <<'SCRIPT_'\nSCRIPT\n$x\nSCRIPT_"
        );
        let status = Word::from("S=").then(Slot::new("job_status")).then("\nx\n");
        let line = DockerCommand::start_attached("c").shell_line(&docker, Some(&status), "");
        assert_eq!(
            line,
            "{ printf %s S=\"${job_status}\"; cat <<'SCRIPT'; } | docker start --attach --interactive -- c\n\nx\nSCRIPT"
        );
    }

    #[test]
    fn an_unbound_slot_never_reaches_a_process() {
        assert_eq!(
            DockerCommand::start_attached(Slot::new("x")).argv(None),
            Err(Slot::new("x"))
        );
    }

    #[test]
    fn knows_the_names_that_lead_the_client() {
        for name in [
            "DOCKER_HOST",
            "PATH",
            "http_proxy",
            "LD_PRELOAD",
            "GODEBUG",
            "SSL_CERT_FILE",
            "HOME",
        ] {
            assert!(client_reads(name) && may_lead_client(name), "{name}");
        }
        for name in [
            "BASH_ENV",
            "PS4",
            "SHELLOPTS",
            "CONTAINER_HOST",
            "PYTHONPATH",
        ] {
            assert!(!client_reads(name) && may_lead_client(name), "{name}");
        }
        for name in ["CI", "DB_PASSWORD", "MY_DOCKER_HOST"] {
            assert!(!client_reads(name) && !may_lead_client(name), "{name}");
        }
    }
}
