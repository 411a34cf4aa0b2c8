//! Stages: a script into a container, its output into the log, its exit status out.

use std::sync::PoisonError;
use std::thread;
use std::time::Duration;

use super::{Run, Stop, outcome_of_reason, system_failure};
use crate::cancel::{Cancel, Reason};
use crate::docker::DockerCommand;
use crate::docker::session::{Session, Status};
use crate::logging::carried;
use crate::outcome::{Outcome, on_one_line};
use crate::plan::Stage;

/// What is asked about a build container that ended.
const STATE: &str = "{{.State.Status}} {{.State.ExitCode}} {{.State.OOMKilled}} {{.State.StartedAt}} {{.State.Error}}";

/// How long what is to end may take between TERM and KILL.
const GRACE: Duration = Duration::from_secs(10);
/// How long docker may take to hear of an end.
const ANSWER: Duration = Duration::from_secs(3);
/// The status of what SIGKILL ended.
const KILLED: i32 = 137;
/// How long after the end an engine may hear why, as docker has times in the future.
const NOTICE: &str = "-500ms";

/// Lets those go on who wait for these, however the work between comes to its end.
struct Ended<'a>([&'a Cancel; 2]);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|cancel| cancel.finish());
    }
}

impl Run<'_> {
    /// Runs the job's script in the build container.
    pub(super) fn build_stage(
        &self,
        stage: &Stage,
        session: Session,
        cancel: &Cancel,
    ) -> Result<Outcome, Stop> {
        let limited = cancel.child(stage.timeout);
        // Triggered, it ends the client; finished, it says that the client has ended.
        let client = Cancel::new();
        let sent = thread::scope(|scope| {
            scope.spawn(carried(|| {
                if limited.wait_for_it().is_some() {
                    self.end_build(&client);
                }
            }));
            let _ended = Ended([&client, &limited]);
            match (self.terminal, &stage.enter) {
                (Some(terminal), Some(enter)) => {
                    self.send_attended(stage, session, &client, &limited, (terminal, enter))
                }
                _ => self.send(stage, session, &client),
            }
        });
        match (limited.reason(), sent) {
            (Some(reason), _) => Err(Stop::Outcome(outcome_of_reason(reason))),
            (None, Ok(status)) => self.verified(status),
            (None, Err(stop)) => Err(stop),
        }
    }

    /// Ends what runs in the build container: TERM for all of it, and for what is still there after a while
    /// KILL. The client ends with the container; one that does not is ended by `client`.
    fn end_build(&self, client: &Cancel) {
        let name = &self.plan.build.name;
        let limit = Cancel::new().child(Some(GRACE + ANSWER));
        // A shell as process 1 takes no notice of TERM, its children do.
        let terminate = DockerCommand::exec().operands(name, ["sh", "-c", "kill -TERM -1"]);
        let stop = DockerCommand::stop(name, GRACE);
        for command in [terminate, stop] {
            if let Err(error) = self.docker.capture_with(&command, None, &limit) {
                log::debug!("while a build is stopped: {error}");
            }
        }
        if client.wait(ANSWER).is_none() {
            client.trigger(Reason::Canceled);
        }
    }

    /// Runs the `after_script`. Whatever becomes of it, the job's outcome is the script's.
    pub(super) fn after_script(&self, stage: &Stage, session: Session) -> Result<(), Stop> {
        match self.build_stage(stage, session, self.canceled) {
            Ok(Outcome::Success) | Err(Stop::Outcome(Outcome::Canceled)) => Ok(()),
            Ok(Outcome::ScriptFailure { exit_code, .. }) => Ok(self
                .trace
                .warning(&format!("after_script failed: exit code {exit_code}"))?),
            Ok(outcome) | Err(Stop::Outcome(outcome)) => {
                let text = outcome.to_string();
                let text = text.strip_prefix("ERROR: Build failed").unwrap_or(&text);
                Ok(self.trace.warning(&format!("after_script failed{text}"))?)
            }
            Err(Stop::Docker(error)) => Ok(self
                .trace
                .warning(&format!("after_script failed: {error}"))?),
        }
    }

    /// Sends a stage's script, and its output to the log.
    pub(super) fn send(
        &self,
        stage: &Stage,
        session: Session,
        cancel: &Cancel,
    ) -> Result<Status, Stop> {
        let script = self.script(stage)?;
        let status = self.timed(stage.name, "", || {
            session.run(&script, &mut |bytes| self.trace.write(bytes), cancel)
        });
        Ok(status?)
    }

    pub(super) fn script(&self, stage: &Stage) -> Result<String, Stop> {
        let bindings = self.bindings.lock().unwrap_or_else(PoisonError::into_inner);
        let bound = stage.script.bind(&bindings);
        bound.map_err(|slot| system_failure(format!("{} is not known", slot.name())))
    }

    /// Whether the kernel ended something in the build container, which started at this time. The engine hears
    /// of it by another way than of the container's end, now and then a little later, and then does not note
    /// it on the container.
    fn lacked_memory(&self, started: &str) -> bool {
        let events = DockerCommand::events(&self.plan.build.name, "oom", started, NOTICE);
        self.docker
            .capture(&events)
            .is_ok_and(|events| !events.is_empty())
    }

    /// What became of the build, by the engine's word: a client says 0 when somebody ends it, and 1 when it
    /// could not start the container.
    fn verified(&self, client: Status) -> Result<Outcome, Stop> {
        let state = self
            .docker
            .capture(&DockerCommand::inspect(&self.plan.build.name, STATE))
            .map_err(|error| {
                let said = client.0.map_or_else(
                    || "died".to_owned(),
                    |status| format!("ended with status {status}"),
                );
                system_failure(format!(
                    "the docker client {said}, and its container cannot be asked: {}",
                    error.reason()
                ))
            })?;
        let mut words = state.splitn(5, ' ');
        let (status, code) = (
            words.next().unwrap_or_default(),
            words.next().and_then(|code| code.parse::<i32>().ok()),
        );
        let out_of_memory = words.next() == Some("true");
        let started = words.next().unwrap_or_default();
        let error = words.next().unwrap_or_default().trim();
        match (status, code) {
            ("exited", Some(code)) if !error.is_empty() => Err(system_failure(format!(
                "the build container could not be started ({code}): {}",
                on_one_line(error)
            ))),
            ("exited", Some(0)) if client.0 == Some(0) => Ok(Outcome::Success),
            ("exited", Some(0)) => Err(system_failure(
                "the docker client died, part of the log may be missing",
            )),
            ("exited", Some(exit_code)) => {
                // The flag is set also where a child was killed and the script went on to a status of its own.
                let killed = exit_code == KILLED;
                Ok(Outcome::ScriptFailure {
                    exit_code,
                    out_of_memory: killed && (out_of_memory || self.lacked_memory(started)),
                })
            }
            ("running" | "paused" | "restarting", _) => Err(system_failure(
                "the attachment to the build container was lost while its script ran",
            )),
            _ => Err(system_failure(format!(
                "the build container could not be started: {}",
                on_one_line(&state)
            ))),
        }
    }
}
