//! Why a docker command failed, as far as a caller decides by it.

use std::fmt;

use super::rights::refusal;

/// What went wrong, read from what the client printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// There is no docker client to start.
    NoClient,
    /// The client could not reach its engine.
    NoEngine,
    /// The user may not talk to the engine.
    NoRights,
    /// The engine's disk is full.
    NoRoom,
    /// The registry's host is not known, or nothing listens there.
    NoRegistry,
    /// The engine went away meanwhile, or the container in which it was to happen.
    Gone,
    /// The image, container, network or volume does not exist, or may not be seen.
    NotFound,
    /// The registry knows no user of this name and password.
    Denied,
    /// The name is taken.
    Conflict,
    /// A bind mount names a path that the engine's host does not have.
    NoBindSource,
    /// The helper image cannot be built.
    NoHelperImage,
    /// The caller cancelled it.
    Canceled,
    /// Anything else.
    Other,
}

/// A docker command that failed.
#[derive(Clone, Debug)]
pub struct DockerError {
    /// What kind of failure it is.
    pub kind: Kind,
    /// The command, as a line for a shell.
    pub command: String,
    /// What it printed to stderr, or why it could not be started.
    pub message: String,
    /// What it printed to stdout before, where that was kept.
    pub printed: String,
}

impl DockerError {
    /// Reads the kind from a client's stderr.
    #[must_use]
    pub fn from_stderr(command: String, status: Option<i32>, stderr: &[u8]) -> Self {
        let text = String::from_utf8_lossy(stderr);
        // A client without buildx begins with a paragraph of advice.
        let text = match text.split_once("\n\n") {
            Some((first, rest)) if first.starts_with("DEPRECATED: ") => rest.trim().to_owned(),
            _ => text.trim().to_owned(),
        };
        // Of several images each is answered, and all the same where there is no engine.
        let mut lines: Vec<&str> = text.lines().collect();
        lines.dedup();
        let text = lines.join("\n");
        let start = start_problem(&text);
        let kind = match start {
            Some(_) => Kind::Other,
            None => kind_of(&text),
        };
        let message = match (text.is_empty(), status) {
            (false, _) => start.unwrap_or(text),
            (true, Some(status)) => format!("exit status {status}, no message"),
            (true, None) => "ended by a signal".to_owned(),
        };
        Self {
            kind,
            command,
            message,
            printed: String::new(),
        }
    }

    /// Whether no other command would fare better.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(
            self.kind,
            Kind::NoClient | Kind::NoRights | Kind::NoRoom | Kind::Canceled
        ) || self.is_loss()
    }

    /// Whether the engine is not there, or not what it was: it may have been started again.
    #[must_use]
    pub fn is_loss(&self) -> bool {
        matches!(self.kind, Kind::NoEngine | Kind::Gone)
    }

    /// Whether the connection was lost after it had been made.
    #[must_use]
    pub fn is_cut_off(&self) -> bool {
        is_cut_off(&self.message)
    }

    /// Whether the client says so itself of a command that made nothing, and how it would like to be used.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        self.message.contains(" --help'")
            && matches!(self.kind, Kind::Other | Kind::NoBindSource | Kind::Denied)
    }

    /// The message without docker's own preambles, for a log.
    #[must_use]
    pub fn reason(&self) -> &str {
        let mut text = self.message.as_str();
        for prefix in ["docker: ", "Error response from daemon: ", "Error: "] {
            text = text.strip_prefix(prefix).unwrap_or(text);
        }
        // Where the client says how it would like to be used.
        for advice in ["\nSee 'docker ", "\nRun 'docker ", "\nUsage:  docker "] {
            text = text.split(advice).next().unwrap_or(text);
        }
        text.trim_end()
    }
}

/// Why a container's program could not be started, where that is what a docker client or an engine says: a mistake in
/// a `command` or an `entrypoint`, and nothing that was removed.
#[must_use]
pub fn start_problem(text: &str) -> Option<String> {
    // runc's `exec: "redis-serverr": executable file not found in $PATH: unknown`, and crun's with other quotes.
    let (at, open, close) = [(" exec: \"", '"'), (" executable file `", '`')]
        .iter()
        .find_map(|(open, close)| Some((text.find(open)?, open, close)))?;
    if !text.contains("OCI runtime") && !text.contains("starting container process") {
        return None;
    }
    let (program, problem) = text[at + open.len()..].split_once(*close)?;
    let has = |words: &str| problem.to_ascii_lowercase().contains(words);
    Some(if has("not found") || has("no such file") {
        format!("the image has no program `{program}`")
    } else if has("permission denied") {
        format!("`{program}` in the image is no program that may be run")
    } else if has("exec format error") {
        format!("`{program}` in the image is no program for this machine")
    } else {
        format!(
            "the program `{program}` cannot be started{}",
            problem.trim_end()
        )
    })
}

fn kind_of(stderr: &str) -> Kind {
    let has = |texts: &[&str]| texts.iter().any(|text| stderr.contains(text));
    if has(&["permission denied while trying to connect to the"]) {
        Kind::NoRights
    } else if has(&["no space left on device"]) {
        Kind::NoRoom
    } else if has(&["Error response from daemon: "])
        && has(&["no such host", "connect: connection refused"])
    {
        Kind::NoRegistry
    } else if has(&[
        "Cannot connect to the Docker daemon",
        "error during connect",
        "trying to connect to the Docker daemon",
        "failed to connect to the docker API",
        "unable to resolve docker endpoint",
        "Client sent an HTTP request to an HTTPS server",
        "server probably has client authentication",
    ]) {
        Kind::NoEngine
    } else if is_cut_off(stderr) || is_unwell(stderr) || has(&["is not running"]) {
        Kind::Gone
    } else if has(&["bind source path does not exist"]) {
        Kind::NoBindSource
    } else if has(&["is already in use by container", "already exists"]) {
        Kind::Conflict
    } else if has(&[
        "No such",
        "is marked for removal",
        "pull access denied",
        "manifest unknown",
        "repository does not exist",
        "not found",
    ]) {
        Kind::NotFound
    } else if has(&[
        "unauthorized",
        "401 Unauthorized",
        "403 Forbidden",
        "access forbidden",
        "no basic auth credentials",
        // After the address, in quotes; not of a permission.
        "\": denied",
    ]) {
        Kind::Denied
    } else {
        Kind::Other
    }
}

/// Whether a client lost its engine in the middle of an answer. What the engine itself says of another host's
/// connections, those to a registry for example, is another matter.
fn is_cut_off(stderr: &str) -> bool {
    !stderr.contains("Error response from daemon")
        && (stderr.ends_with("EOF")
            || ["connection reset by peer", "broken pipe", "unexpected EOF"]
                .iter()
                .any(|text| stderr.contains(text)))
}

/// Whether an engine lost what it starts containers with, or did not hear of it in time: it had been hanging.
fn is_unwell(stderr: &str) -> bool {
    let has = |text| stderr.contains(text);
    has("transport is closing")
        || has("failed to start io pipe copy")
        || (has("context deadline exceeded") && (has("shim") || has("containerd")))
}

/// Whether what keeps an engine from answering is how its TLS is spoken to.
fn is_about_tls(message: &str) -> bool {
    ["tls", "TLS", "HTTPS", "x509", ".pem"]
        .iter()
        .any(|text| message.contains(text))
}

impl fmt::Display for DockerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::NoClient => write!(
                f,
                "cannot start the docker command line ({}); install it (Debian: docker.io or docker-cli) so that \
                 `docker` is on PATH",
                self.message
            ),
            Kind::NoEngine if is_about_tls(&self.message) => write!(
                f,
                "the docker engine cannot be talked to: {}; see --docker-tls-cert-path (a directory with ca.pem, \
                 cert.pem and key.pem that fit the engine) and --docker-tls-verify",
                self.reason()
            ),
            Kind::NoEngine => write!(
                f,
                "no docker engine answers: {}; start it, or say where it is with --docker-host or DOCKER_HOST",
                self.reason()
            ),
            Kind::NoHelperImage => f.write_str(self.reason()),
            Kind::NoRights => f.write_str(&refusal(&self.message)),
            Kind::NoRoom => write!(
                f,
                "the docker engine's disk is full: {}; make room there (`docker system df` shows what takes it)",
                self.reason().trim_end_matches('.')
            ),
            _ => write!(f, "{}; tried: {}", self.reason(), self.command),
        }
    }
}

impl std::error::Error for DockerError {}

#[cfg(test)]
mod tests {
    use super::{DockerError, Kind, start_problem};

    #[test]
    fn a_program_that_cannot_be_started_is_named() {
        let engine = "docker: Error response from daemon: failed to create shim task: OCI runtime create failed: ";
        let runc = "runc create failed: unable to start container process: ";
        for (said, sentence) in [
            (
                format!("{engine}{runc}exec: \"redis-serverr\": executable file not found in $PATH: unknown"),
                "the image has no program `redis-serverr`",
            ),
            (
                format!("{engine}{runc}exec: \"/no/x\": stat /no/x: no such file or directory: unknown"),
                "the image has no program `/no/x`",
            ),
            (
                format!("{engine}{runc}error during container init: exec: \"/etc\": permission denied: unknown."),
                "`/etc` in the image is no program that may be run",
            ),
            (
                "OCI runtime exec failed: exec failed: container_linux.go:380: starting container process caused: exec: \"/x\": \
                 exec format error: unknown"
                    .to_owned(),
                "`/x` in the image is no program for this machine",
            ),
            (
                format!("{engine}crun: executable file `nope` not found in $PATH: No such file or directory: unknown"),
                "the image has no program `nope`",
            ),
        ] {
            assert_eq!(start_problem(&said).as_deref(), Some(sentence));
            let error = DockerError::from_stderr("docker run".into(), Some(127), said.as_bytes());
            assert_eq!((error.kind, error.reason()), (Kind::Other, sentence));
        }
        for other in [
            "docker: Error response from daemon: network x not found",
            "Error: No such container: exec: \"x\": y",
        ] {
            assert_eq!(start_problem(other), None, "{other}");
        }
    }

    #[test]
    fn reads_what_docker_prints() {
        for (stderr, kind) in [
            (
                "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?",
                Kind::NoEngine,
            ),
            ("Error: No such image: x", Kind::NotFound),
            (
                "Error response from daemon: pull access denied for x, repository does not exist",
                Kind::NotFound,
            ),
            (
                "Error response from daemon: Conflict. The container name \"/x\" is already in use by container \"1\".",
                Kind::Conflict,
            ),
            (
                "docker: Error response from daemon: invalid mount config for type \"bind\": bind source path does not \
                exist: /x.",
                Kind::NoBindSource,
            ),
            (
                "Error response from daemon: Client sent an HTTP request to an HTTPS server.",
                Kind::NoEngine,
            ),
            (
                "Failed to initialize: unable to resolve docker endpoint: open /x/ca.pem: no such file or directory",
                Kind::NoEngine,
            ),
            (
                "The server probably has client authentication (--tlsverify) enabled; check your TLS client \
                certification settings: Get \"https://h/_ping\": remote error: tls: bad certificate",
                Kind::NoEngine,
            ),
            (
                "Error response from daemon: Head \"https://r/v2/x\": unauthorized: authentication required",
                Kind::Denied,
            ),
            (
                "Error response from daemon: Get \"https://r/v2/\": dial tcp: i/o timeout",
                Kind::Other,
            ),
            (
                "Error response from daemon: Get \"https://r/v2/\": dial tcp: lookup r on 10.0.0.1:53: no such host",
                Kind::NoRegistry,
            ),
            (
                "Error response from daemon: Get \"http://r:1/v2/\": dial tcp 10.0.0.2:1: connect: connection refused",
                Kind::NoRegistry,
            ),
            (
                "docker: Error response from daemon: mkdir /var/lib/docker/overlay2/x: no space left on device.",
                Kind::NoRoom,
            ),
            (
                "Got permission denied while trying to connect to the Docker daemon socket at unix:///x: Get \"y\"",
                Kind::NoRights,
            ),
            (
                "time=\"2026-01-01T00:00:00Z\" level=error msg=\"error waiting for container: unexpected EOF\"",
                Kind::Gone,
            ),
            (
                "Error response from daemon: Get \"https://r/v2/\": unexpected EOF",
                Kind::Other,
            ),
            (
                "docker: Error response from daemon: failed to create shim task: failed to start io pipe copy: unable \
                to copy pipes: containerd-shim: opening w/o fifo \"/x/init-stdout\" failed: context deadline exceeded",
                Kind::Gone,
            ),
            (
                "Error response from daemon: Container 0a061e3f9a38 is not running",
                Kind::Gone,
            ),
        ] {
            let error = DockerError::from_stderr("docker x".into(), Some(1), stderr.as_bytes());
            assert_eq!(error.kind, kind, "{stderr}");
            assert!(!error.reason().starts_with("Error"), "{}", error.reason());
        }
    }
}
