//! Stages: a script into a container, its output into the log, its exit status out.

use std::sync::PoisonError;
use std::thread::{self, Scope};
use std::time::Duration;

use super::marks::{Part, Reader};
use super::trouble::RESTORATIONS;
use super::{Run, Stop, hints, outcome_of_reason, system_failure};
use crate::cancel::{Cancel, FinishOnDrop, Reason};
use crate::docker::error::Kind;
use crate::docker::session::{Session, Status};
use crate::docker::{DockerCommand, DockerError, Word};
use crate::logging::carried;
use crate::outcome::Outcome;
use crate::plan::Stage;

/// How much of a script's output is kept, in bytes: at its end a client says why it failed.
const TAIL: usize = 2048;
/// What `docker run` ends with that could start nothing; `docker start` says 1, as a script may.
pub(super) const NOT_RUN: i32 = 125;
/// How long what is to end may take between TERM and KILL.
const GRACE: Duration = Duration::from_secs(10);
/// How long docker may take to hear of an end.
const ANSWER: Duration = Duration::from_secs(3);

/// What a script was sent for, as far as the client tells.
pub(super) struct Sent {
    pub status: Status,
    /// The script said that it succeeded.
    pub succeeded: bool,
    tail: Vec<u8>,
}

impl Sent {
    /// What the client said, if it was the last one that spoke.
    pub fn error(&self, command: &DockerCommand) -> DockerError {
        DockerError::from_stderr(command.to_string(), self.status.0, &self.tail)
    }
}

impl Run<'_> {
    /// Runs the job's script in a build container that is there, waiting for it, or made now.
    pub(super) fn build_script<'scope>(
        &'scope self,
        stage: &Stage,
        waiting: Option<Session>,
        followers: &'scope Scope<'scope, '_>,
    ) -> Result<Outcome, Stop> {
        let mut waiting = waiting;
        for _ in 0..RESTORATIONS {
            self.check_canceled()?;
            let session = match waiting.take() {
                Some(held) => self.released(held)?,
                None => self.start_build(&self.plan.build.run)?,
            };
            self.begin_script();
            match self.build_stage(stage, session, self.cancel, true) {
                Err(Stop::Docker(error))
                    if error.kind == Kind::Gone || self.was_removed(&error) =>
                {
                    self.restore(&self.plan.build.name, &error)?;
                    if self.trouble.is_build_alone() {
                        // The sources have gone with it.
                        self.clean_up();
                        waiting = self.ready(followers)?;
                    }
                }
                result => return result,
            }
        }
        Err(system_failure(
            "somebody removes the build container or its image again and again",
        ))
    }

    /// A build container that was held, or another one: on an engine that is new to this executable the volume with it
    /// was empty, and where the image has no shell docker says so best.
    fn released(&self, held: Session) -> Result<Session, Stop> {
        match held.ended() {
            None | Some(Status(None | Some(NOT_RUN))) => Ok(held),
            Some(Status(Some(status))) => {
                log::debug!("the build container was not held: status {status}");
                drop(held);
                self.remove_container(&self.plan.build.name)?;
                self.start_build(&self.plan.build.run)
            }
        }
    }

    /// Runs a script in the build container; `first` says that the container was made for it.
    fn build_stage(
        &self,
        stage: &Stage,
        session: Session,
        cancel: &Cancel,
        first: bool,
    ) -> Result<Outcome, Stop> {
        let limited = cancel.child(stage.timeout);
        // Triggered, it ends the client; finished, it says that the client has ended.
        let client = Cancel::new();
        let sent = thread::scope(|scope| {
            scope.spawn(carried(|| {
                match limited.wait_for_it() {
                    // It would not hear of it.
                    Some(Reason::NoEngine) => client.trigger(Reason::NoEngine),
                    Some(_) => self.end_build(&client),
                    None => {}
                }
            }));
            let _finished = FinishOnDrop([&client, &limited]);
            match (self.terminal, &stage.enter) {
                (Some(terminal), Some(enter)) => self
                    .send_attended(stage, session, &client, &limited, (terminal, enter))
                    .map(|status| Sent {
                        status,
                        succeeded: false,
                        tail: Vec::new(),
                    }),
                _ => self.send(stage, session, &client),
            }
        });
        match (limited.reason(), sent) {
            (Some(reason), _) => Err(Stop::Outcome(outcome_of_reason(reason))),
            (None, Ok(sent)) => {
                let outcome = self.verified(&sent, first)?;
                if let Some(hint) = hints::of_script(&outcome, &sent.tail) {
                    self.trace.line(&format!("HINT: {hint}"))?;
                }
                Ok(outcome)
            }
            (None, Err(stop)) => Err(stop),
        }
    }

    /// Ends what runs in the build container: TERM for all of it, and for what is still there after a while
    /// KILL. The client ends with the container; one that does not is ended by `client`.
    fn end_build(&self, client: &Cancel) {
        let name = &self.plan.build.name;
        let limit = Cancel::new().child(Some(GRACE + ANSWER));
        let tell = |command: &DockerCommand| {
            let told = self.docker.capture_with(command, None, &limit);
            if let Err(error) = &told {
                log::debug!("while a build is stopped: {error}");
            }
            told.is_ok()
        };
        // The script's own shell, process 1, hears it first: it would end by what its children end with before it heard
        // of a signal that it has a trap for. Without a trap it takes no notice.
        let runs = tell(&DockerCommand::kill(name, "TERM"));
        // Where it sees other processes than its own, these are not meant.
        if runs && self.plan.build.has_own_processes {
            tell(&DockerCommand::exec().operands(name, ["sh", "-c", "kill -TERM -1"]));
        }
        if !runs || !client.is_over_within(GRACE) {
            tell(&DockerCommand::stop(name, Duration::ZERO));
        }
        if client.wait(ANSWER).is_none() {
            client.trigger(Reason::Canceled);
        }
    }

    /// Runs the `after_script`, within the job's time. Whatever becomes of it, the job's outcome is the script's. Returns
    /// whether it has ended by itself.
    pub(super) fn after_script(&self, stage: &Stage) -> Result<bool, Stop> {
        let run = |session, first| self.build_stage(stage, session, self.cancel, first);
        let session = self.docker.start(&self.bound(&stage.command))?;
        let mut result = run(session, false);
        for _ in 0..RESTORATIONS {
            match result {
                Err(Stop::Docker(error)) if self.was_removed(&error) => {
                    self.restore(&self.plan.build.name, &error)?;
                    self.trace
                        .warning("after_script runs in a new build container")?;
                    result = run(self.start_build(&self.plan.build.run)?, true);
                }
                _ => break,
            }
        }
        let said = match result {
            Ok(Outcome::Success) => return Ok(true),
            Err(Stop::Outcome(Outcome::Canceled)) => return Ok(false),
            Ok(Outcome::ScriptFailure { exit_code, .. }) => {
                self.trace
                    .warning(&format!("after_script failed: exit code {exit_code}"))?;
                return Ok(true);
            }
            Ok(outcome) | Err(Stop::Outcome(outcome)) => outcome.failure_of("after_script failed"),
            Err(Stop::Docker(error)) => format!("after_script failed: {error}"),
        };
        self.trace.warning(&said)?;
        Ok(false)
    }

    /// Sends a stage's script, and its output to the log.
    pub(super) fn send(
        &self,
        stage: &Stage,
        session: Session,
        cancel: &Cancel,
    ) -> Result<Sent, Stop> {
        let script = self.script(stage);
        let mut tail = Vec::new();
        let mut log = |bytes: &[u8]| {
            tail.extend_from_slice(&bytes[bytes.len().saturating_sub(TAIL)..]);
            tail.drain(..tail.len().saturating_sub(TAIL));
            self.trace.write(bytes)
        };
        let mut marks = Reader::default();
        let mut succeeded = false;
        let mut output = |bytes: &[u8]| {
            marks.push(bytes, &mut |part| match part {
                Part::Text(text) => log(text),
                Part::Succeeded => {
                    succeeded = true;
                    Ok(())
                }
                Part::Begun | Part::Failed => Ok(()),
            })
        };
        let status = self.timed(stage.name, "", || session.run(&script, &mut output, cancel))?;
        log(marks.rest())?;
        self.trouble.note_end(&tail);
        Ok(Sent {
            status,
            succeeded,
            tail,
        })
    }

    /// A stage's script, in which nothing is unknown any more.
    pub(super) fn script(&self, stage: &Stage) -> Word {
        let bindings = self.bindings.lock();
        stage
            .script
            .filled(&bindings.unwrap_or_else(PoisonError::into_inner))
    }
}
