//! Clients whose output is read while they run.

use std::fs::File;
use std::io::{self, PipeWriter, Read};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tempfile::NamedTempFile;

use super::captured::end_of;
use super::client::{Docker, Group};
use super::command::DockerCommand;
use super::error::{DockerError, Kind};
use super::stream::Stream;
pub use super::stream::{Output, Status};
use super::word::{Bindings, Word};
use crate::cancel::Cancel;

/// What a client ends with that could not make or start a container, or the command in it.
const NOT_STARTED: RangeInclusive<i32> = 125..=127;

/// How long a client whose result is not wanted any more may take to end when its standard input has ended.
const ENOUGH: Duration = Duration::from_secs(10);

impl Docker {
    /// Starts a command whose output is to be read while it runs. It waits for its standard input, which
    /// comes by [`Session::run`]; only then is it announced.
    ///
    /// # Errors
    /// [`DockerError`] if it could not be started.
    pub fn start(&self, command: &DockerCommand) -> Result<Session, DockerError> {
        self.open(command, None, false)
    }

    /// As [`Docker::start`], where nothing that runs by the command writes to stderr: what comes there is the client's
    /// own, and no output. If the client says so that it could start nothing, running this is an error.
    ///
    /// # Errors
    /// As [`Docker::start`].
    pub fn start_apart(&self, command: &DockerCommand) -> Result<Session, DockerError> {
        self.open(command, None, true)
    }

    /// As [`Docker::start`], with what the command prints to stdout going to a file, which has this path.
    ///
    /// # Errors
    /// As [`Docker::start`].
    pub fn start_into(
        &self,
        command: &DockerCommand,
        output: (File, &Path),
    ) -> Result<Session, DockerError> {
        self.open(command, Some(output), false)
    }

    fn open(
        &self,
        command: &DockerCommand,
        output: Option<(File, &Path)>,
        apart: bool,
    ) -> Result<Session, DockerError> {
        let failed = |error: io::Error| self.not_started(command, &error);
        let (process, env_file) = self.process(command, Group::OfItsOwn)?;
        let (stdin, feed) = io::pipe().map_err(failed)?;
        let process = process.stdin_file(stdin);
        let (process, path) = match output {
            Some((file, path)) => (process.stdout_file(file), Some(path.to_owned())),
            None => (process, None),
        };
        let (process, stderr) = if apart {
            let (stderr, writer) = io::pipe().map_err(failed)?;
            (process.stderr_file(writer), Some(stderr))
        } else {
            (process.stderr_to_stdout(), None)
        };
        let process = Stream::start(&process).map_err(failed)?;
        Ok(Session {
            docker: self.clone(),
            command: command.clone(),
            process: Arc::new(process),
            feed: Some(feed),
            output: path,
            stderr: stderr.map(|pipe| std::thread::spawn(move || end_of(pipe))),
            _env_file: env_file,
        })
    }

    /// Runs a command in the background of everything else, and hands what it prints (both streams) to `output` until it
    /// ends or `cancel` ends it.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub fn follow(
        &self,
        command: &DockerCommand,
        output: Output,
        cancel: &Cancel,
    ) -> Result<Status, DockerError> {
        self.announce(command, None, " &");
        let (process, _env_file) = self.process(command, Group::OfItsOwn)?;
        let process = Stream::start(&process.stdin_null().stderr_to_stdout());
        let process = Arc::new(process.map_err(|error| self.not_started(command, &error))?);
        self.stream(command, &process, output, cancel)
    }

    /// Reads a client's output to its end.
    fn stream(
        &self,
        command: &DockerCommand,
        process: &Arc<Stream>,
        output: Output,
        cancel: &Cancel,
    ) -> Result<Status, DockerError> {
        let killed = process.clone();
        let guard = cancel.on_trigger(move || killed.kill());
        let ended = process.copy(output);
        if ended.is_err() {
            process.kill();
        }
        drop(guard);
        if cancel.reason().is_some() {
            return Err(self.failed(command, Kind::Canceled, "canceled".to_owned()));
        }
        ended.map_err(|error| {
            self.failed(
                command,
                Kind::Other,
                format!("cannot pass on the output: {error}"),
            )
        })
    }
}

/// A docker client that runs, its output unread.
pub struct Session {
    docker: Docker,
    command: DockerCommand,
    process: Arc<Stream>,
    /// Its standard input, until it is run.
    feed: Option<PipeWriter>,
    /// The file that its stdout goes to, if it is not read here.
    output: Option<PathBuf>,
    /// What the client itself writes to stderr, where that is no output: the end of it.
    stderr: Option<JoinHandle<io::Result<Vec<u8>>>>,
    _env_file: Option<NamedTempFile>,
}

impl Session {
    /// How the command ended, if it has before its standard input came.
    #[must_use]
    pub fn ended(&self) -> Option<Status> {
        self.process.ended()
    }

    /// Sends `stdin` and its end, and hands what the command prints (both streams, unless one goes to a file) to
    /// `output` until it ends. `cancel` ends the client; what runs behind it in a container is the caller's to end.
    ///
    /// # Errors
    /// [`DockerError`] if `output` fails, the client cannot be waited for, or with [`Kind::Canceled`].
    pub fn run(self, stdin: &Word, output: Output, cancel: &Cancel) -> Result<Status, DockerError> {
        let held = Cancel::new();
        held.finish();
        self.run_held(stdin, output, cancel, &held)
    }

    /// As [`Session::run`], but the end of `stdin` is sent only when `held` is triggered or finished, or the
    /// command has ended.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub fn run_held(
        self,
        stdin: &Word,
        output: Output,
        cancel: &Cancel,
        held: &Cancel,
    ) -> Result<Status, DockerError> {
        let end = self.output.as_ref().map(|path| redirected(" 2>&1 >", path));
        let end = end.unwrap_or_default();
        let text = stdin.expose(&Bindings::new()).map_err(|slot| {
            let missing = format!("{} is not known", slot.name());
            self.docker.failed(&self.command, Kind::Other, missing)
        })?;
        let shown = Some(stdin).filter(|_| !text.is_empty());
        self.docker.announce(&self.command, shown, &end);
        self.feed(io::Cursor::new(text), output, cancel, held)
    }

    /// As [`Session::run`], with the contents of a file, which has this path, for standard input.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub fn run_with_file(
        self,
        (stdin, path): (File, &Path),
        output: Output,
        cancel: &Cancel,
    ) -> Result<Status, DockerError> {
        self.docker
            .announce(&self.command, None, &redirected(" <", path));
        let held = Cancel::new();
        held.finish();
        self.feed(stdin, output, cancel, &held)
    }

    fn feed(
        mut self,
        stdin: impl Read + Send + 'static,
        output: Output,
        cancel: &Cancel,
        held: &Cancel,
    ) -> Result<Status, DockerError> {
        let writer = self
            .feed
            .take()
            .map(|feed| copy_all(feed, stdin, held.clone()));
        let status = self
            .docker
            .stream(&self.command, &self.process, output, cancel);
        held.finish();
        drop(writer.map(JoinHandle::join));
        let Some(stderr) = self.stderr.take() else {
            return status;
        };
        let stderr = stderr
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let stderr = stderr.map_err(|error| {
            self.docker
                .failed(&self.command, Kind::Other, error.to_string())
        })?;
        self.docker.judged(&self.command, status?, &stderr)
    }
}

impl Docker {
    /// How a client ended that said this of itself.
    fn judged(
        &self,
        command: &DockerCommand,
        Status(code): Status,
        stderr: &[u8],
    ) -> Result<Status, DockerError> {
        if stderr.is_empty() {
            return Ok(Status(code));
        }
        let line = self.line(command);
        if code.is_some_and(|code| NOT_STARTED.contains(&code)) {
            return Err(DockerError::from_stderr(line, code, stderr));
        }
        let text = String::from_utf8_lossy(stderr);
        log::debug!("{line}: {}", text.trim_end());
        Ok(Status(code))
    }
}

impl Drop for Session {
    /// A client that is not wanted any more has made what it makes before anybody removes that: it is waited for. One
    /// that makes nothing is ended.
    fn drop(&mut self) {
        if self.feed.take().is_some() {
            if self.command.is_exec() {
                self.process.kill();
            }
            let limit = Cancel::new().child(Some(ENOUGH));
            let ended = self
                .docker
                .stream(&self.command, &self.process, &mut |_| Ok(()), &limit);
            if let Err(error) = ended {
                log::debug!("a client that is not wanted any more: {error}");
            }
        }
    }
}

/// A redirection as a shell has it.
fn redirected(sign: &str, path: &Path) -> String {
    format!("{sign}{}", Word::from(path.display().to_string()))
}

/// Writes in a thread of its own: the reader at the other end may have much to say first, or may never read.
fn copy_all(
    mut feed: PipeWriter,
    mut from: impl Read + Send + 'static,
    held: Cancel,
) -> JoinHandle<()> {
    std::thread::spawn(move || {
        // A reader that has gone without reading to the end is no error, an `ENTRYPOINT` may be of that
        // kind. What became of it, its exit status tells.
        drop(io::copy(&mut from, &mut feed));
        let _ = held.wait_for_it();
    })
}
