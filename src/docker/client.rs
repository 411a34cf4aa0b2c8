//! The only place that starts docker.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use duct::Expression;
use rustix::fs::{Access, access};
use tempfile::NamedTempFile;

use super::captured::{self, Captured};
use super::client_names::client_reads;
use super::clients;
use super::command::DockerCommand;
use super::engine::Engine;
use super::error::{DockerError, Kind};
use super::line::Words;
use super::word::Word;
use crate::cancel::Cancel;

/// The docker command line, for one engine.
#[derive(Clone)]
pub struct Docker {
    engine: Engine,
    pub(super) environment: BTreeMap<String, String>,
    /// Where files are that secrets go through.
    pub(super) files: PathBuf,
    print: bool,
}

/// The end of a printed line whose output is read and not shown.
pub(super) const READ: &str = " >/dev/null";

/// The process group of a client.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    /// A Ctrl-C at the terminal is for the runner, which still has work for its docker clients.
    OfItsOwn,
    /// Where the terminal's keys go.
    OfTheRunner,
}

impl Docker {
    /// A client for this engine; with `print`, each command goes to stderr before it runs, as a line for a
    /// shell. Of the runner's environment the client sees only what it reads itself.
    #[must_use]
    pub fn new(engine: Engine, print: bool) -> Self {
        // The options of the command line lead to the engine; left in the environment, these would only
        // contradict them. Its switches for TLS are on whatever their value.
        let led = |name: &str| {
            let ways = ["DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CERT_PATH"];
            let switches = ["DOCKER_TLS", "DOCKER_TLS_VERIFY"];
            engine.host.is_some() && (ways.contains(&name) || switches.contains(&name))
        };
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| client_reads(name) && !led(name))
            .collect();
        Self {
            engine,
            environment,
            files: std::env::temp_dir(),
            print,
        }
    }

    /// The same client with its files, and those of the processes that it starts, in a directory of this process's
    /// own. Recovery after this process knows its clients by that.
    #[must_use]
    pub fn with_files_in(mut self, directory: &Path) -> Self {
        let path = directory.display().to_string();
        self.environment.insert(clients::VARIABLE.to_owned(), path);
        directory.clone_into(&mut self.files);
        self
    }

    /// The engine it talks to.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Runs a command to its end and returns what it printed to stdout, without the last line break.
    ///
    /// # Errors
    /// [`DockerError`] if it could not be started or ended with another status than 0.
    pub fn capture(&self, command: &DockerCommand) -> Result<String, DockerError> {
        self.capture_with(command, None, &Cancel::new())
    }

    /// As [`Docker::capture`], with standard input, for what takes long: `cancel` ends the client.
    ///
    /// # Errors
    /// As [`Docker::capture`], and [`Kind::Canceled`].
    pub fn capture_with(
        &self,
        command: &DockerCommand,
        stdin: Option<&str>,
        cancel: &Cancel,
    ) -> Result<String, DockerError> {
        self.announce(command, stdin.map(Word::from).as_ref(), READ);
        let (process, _env_file) = self.process(command, Group::OfItsOwn)?;
        let process = match stdin {
            Some(text) => process.stdin_bytes(text),
            None => process.stdin_null(),
        };
        let captured =
            captured::run(&process, cancel).map_err(|error| self.not_started(command, &error))?;
        if cancel.reason().is_some() {
            return Err(self.failed(command, Kind::Canceled, "canceled".to_owned()));
        }
        let Some(Captured {
            status,
            printed,
            stderr,
        }) = captured
        else {
            let message = format!(
                "docker printed more than {} MB, which is no answer",
                captured::LONGEST >> 20
            );
            return Err(self.failed(command, Kind::Other, message));
        };
        if !status.success() {
            let failed = DockerError::from_stderr(self.line(command), status.code(), &stderr);
            return Err(DockerError {
                printed: text(&printed),
                ..failed
            });
        }
        Ok(text(&printed))
    }

    /// Runs a command to its end and returns what it printed, to stdout and to stderr, or the end of it where that is
    /// long.
    ///
    /// # Errors
    /// As [`Docker::capture`].
    pub fn capture_end(&self, command: &DockerCommand) -> Result<String, DockerError> {
        self.announce(command, None, READ);
        let (process, _env_file) = self.process(command, Group::OfItsOwn)?;
        let (status, end) = captured::end(&process.stdin_null())
            .map_err(|error| self.not_started(command, &error))?;
        if !status.success() {
            return Err(DockerError::from_stderr(
                self.line(command),
                status.code(),
                &end,
            ));
        }
        Ok(text(&end))
    }

    /// Whether it prints what it runs.
    #[must_use]
    pub fn prints(&self) -> bool {
        self.print
    }

    /// Prints what is about to be run, if that was asked for, with `end` behind it.
    pub(super) fn announce(&self, command: &DockerCommand, stdin: Option<&Word>, end: &str) {
        self.announce_line(|| command.pasted_line(&self.engine.words(), stdin, end));
    }

    /// The same, of what is more than one command.
    pub(super) fn announce_line(&self, line: impl FnOnce() -> String) {
        if self.print {
            let line = line();
            // One write, so that the lines of two threads do not mix. If stderr is gone, there is no reader to
            // tell.
            drop(
                io::stderr()
                    .lock()
                    .write_all(format!("{line}\n").as_bytes()),
            );
        }
    }

    pub(super) fn failed(
        &self,
        command: &DockerCommand,
        kind: Kind,
        message: String,
    ) -> DockerError {
        DockerError {
            kind,
            command: self.line(command),
            message,
            printed: String::new(),
        }
    }

    pub(super) fn line(&self, command: &DockerCommand) -> String {
        command.shell_line(&self.engine.words(), None, "")
    }

    pub(super) fn not_started(&self, command: &DockerCommand, error: &io::Error) -> DockerError {
        let kind = match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => Kind::NoClient,
            _ => Kind::Other,
        };
        DockerError {
            kind,
            command: self.line(command),
            message: error.to_string(),
            printed: String::new(),
        }
    }

    pub(super) fn process(
        &self,
        command: &DockerCommand,
        group: Group,
    ) -> Result<(Expression, Option<NamedTempFile>), DockerError> {
        let failed = |message| self.failed(command, Kind::Other, message);
        let env_file = match command.file_secrets() {
            [] => None,
            secrets => {
                let write = || {
                    // Mode 0600 is tempfile's own.
                    let mut file = NamedTempFile::with_prefix_in("alloy-runner-", &self.files)?;
                    for (name, value) in secrets {
                        // Each line of its own would be a variable, or the name of one of ours.
                        if value.expose().contains(['\n', '\r']) {
                            return Err(io::Error::other(format!("{name} has several lines")));
                        }
                        writeln!(file, "{name}={}", value.expose())?;
                    }
                    file.flush()?;
                    Ok(file)
                };
                Some(write().map_err(|error: io::Error| {
                    failed(format!("cannot write an --env-file: {error}"))
                })?)
            }
        };
        let path = env_file
            .as_ref()
            .map(|file| file.path().display().to_string());
        let argv = command
            .argv(path.as_deref())
            .map_err(|slot| failed(format!("{} is not known yet", slot.name())))?;
        let Words(words) = self.engine.words();
        let mut environment = self.environment.clone();
        environment.extend(
            command
                .secrets()
                .iter()
                .map(|(name, value)| (name.clone(), value.expose().to_owned())),
        );
        let (name, options) = (&words[0], &words[1..]);
        let program = self.program(name);
        let argv0 = name.clone();
        let process = duct::cmd(program, options.iter().chain(&argv))
            .full_env(environment)
            .before_spawn(move |process| {
                process.arg0(&argv0);
                if group == Group::OfItsOwn {
                    process.process_group(0);
                }
                Ok(())
            })
            .unchecked();
        Ok((process, env_file))
    }

    /// Where the client is. Had the standard library to look for it in a `PATH` that is set for the child, it would
    /// fork, which copies the runner's page tables, in place of `posix_spawn`: twice the runner's processor time for a
    /// job with one at once, nine times with 64.
    fn program(&self, name: &str) -> PathBuf {
        let path = self.environment.get("PATH").map_or("", String::as_str);
        std::env::split_paths(path)
            .map(|directory| directory.join(name))
            .find(|file| file.is_file() && access(file, Access::EXEC_OK).is_ok())
            .unwrap_or_else(|| name.into())
    }
}

/// What a client printed, without the last line break.
fn text(printed: &[u8]) -> String {
    String::from_utf8_lossy(printed)
        .trim_end_matches('\n')
        .to_owned()
}
