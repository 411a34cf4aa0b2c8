//! The docker engine, as one job has to do with it: commands with the job's slots filled in, which end when the job is
//! to end, and what their answers tell about the engine.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::stop::Stop;
use crate::cancel::Cancel;
use crate::docker::error::Kind;
use crate::docker::session::Session;
use crate::docker::{Bindings, Docker, DockerCommand, DockerError, Slot, Word};
use crate::trace::Trace;

/// How long a command that should be short may go on when the job is to end. What the engine makes after that is not
/// known.
const GRACE: Duration = Duration::from_secs(10);

/// The engine of a job.
pub(super) struct Engine<'a> {
    /// The client.
    pub docker: &'a Docker,
    /// Triggered by what stops the job from outside, not by its time limit.
    pub canceled: &'a Cancel,
    /// Triggered by the job's time limit too.
    pub cancel: &'a Cancel,
    trace: &'a Trace,
    bindings: Mutex<Bindings>,
    /// It has answered since the job began.
    answered: AtomicBool,
    /// A command was given up that it may still carry out.
    abandoned: AtomicBool,
}

impl<'a> Engine<'a> {
    pub fn new(
        docker: &'a Docker,
        trace: &'a Trace,
        canceled: &'a Cancel,
        cancel: &'a Cancel,
    ) -> Self {
        Self {
            docker,
            canceled,
            cancel,
            trace,
            bindings: Mutex::default(),
            answered: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
        }
    }

    /// Whether it was there at any time.
    pub fn has_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    /// Whether it never answered, so that all can happen on another one.
    pub fn was_never_reached(&self, error: &DockerError) -> bool {
        let tried = self.has_answered() || self.has_abandoned();
        error.kind == Kind::NoEngine && !tried && self.cancel.reason().is_none()
    }

    /// Whether a command was given up that it may still carry out.
    pub fn has_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed)
    }

    fn bindings(&self) -> MutexGuard<'_, Bindings> {
        self.bindings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on a slot stands for this.
    pub fn bind(&self, slot: &Slot, value: String) {
        self.bindings().insert(slot.clone(), value);
    }

    /// A text with its slots filled in, as far as they are known.
    pub fn filled(&self, word: &Word) -> Word {
        word.filled(&self.bindings())
    }

    fn bound(&self, command: &DockerCommand) -> DockerCommand {
        command.bind(&self.bindings())
    }

    /// Fails where the job is to end.
    pub fn check_canceled(&self) -> Result<(), Stop> {
        check(self.cancel)
    }

    /// Runs a short command to its end. Where the job is to end, it has a little time left.
    pub fn ask(&self, command: &DockerCommand) -> Result<String, DockerError> {
        let began = Instant::now();
        let limit = self.cancel.late(GRACE);
        let result = self.docker.capture_with(&self.bound(command), None, &limit);
        match &result {
            Err(error) if error.kind == Kind::Canceled => {
                self.abandoned.store(true, Ordering::Relaxed);
                // The job's end is due, and its log is the place to say why nothing came of it.
                drop(self.trace.warning(&format!(
                    "the docker engine did not answer within {} s; tried: {}",
                    began.elapsed().as_secs(),
                    error.command
                )));
            }
            Err(error)
                if matches!(error.kind, Kind::NoEngine | Kind::NoRights | Kind::NoClient) => {}
            _ => self.answered.store(true, Ordering::Relaxed),
        }
        result
    }

    /// The same, unless the job is being stopped.
    pub fn tell(&self, command: &DockerCommand) -> Result<String, Stop> {
        self.check_canceled()?;
        Ok(self.ask(command)?)
    }

    /// Removes a container that may be there.
    pub fn remove_container(&self, container: &Word) -> Result<(), DockerError> {
        match self.ask(&DockerCommand::remove([container])) {
            Err(error) if error.kind != Kind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// As [`Docker::start`].
    pub fn start(&self, command: &DockerCommand) -> Result<Session, DockerError> {
        self.docker.start(&self.bound(command))
    }

    /// As [`Docker::start_apart`].
    pub fn start_apart(&self, command: &DockerCommand) -> Result<Session, DockerError> {
        self.docker.start_apart(&self.bound(command))
    }

    /// As [`Docker::start_into`].
    pub fn start_into(
        &self,
        command: &DockerCommand,
        output: (std::fs::File, &Path),
    ) -> Result<Session, DockerError> {
        self.docker.start_into(&self.bound(command), output)
    }

    /// As [`Docker::interactive`].
    pub fn interactive(&self, command: &DockerCommand) -> Result<(), DockerError> {
        self.docker
            .interactive(&self.bound(command), self.canceled)
            .map(drop)
    }
}

/// Fails where something is to stop.
pub(super) fn check(cancel: &Cancel) -> Result<(), Stop> {
    cancel.reason().map_or(Ok(()), |reason| Err(reason.into()))
}
