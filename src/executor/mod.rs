//! Runs a plan: images, network, volumes, services, stages, and cleans up after it.
//!
//! What can go side by side does. Whatever was begun on the engine is written down before, so that
//! [`cleanup`] finds it however the job ends.

mod cleanup;
mod enter;
mod helper;
mod helper_image;
mod hints;
mod images;
mod marks;
pub mod old_images;
pub mod orphans;
mod prepare;
mod services;
pub mod shown;
mod stages;
mod store;
mod trouble;
mod verdict;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use crate::cancel::{Cancel, Reason};
use crate::docker::error::Kind;
use crate::docker::session::Session;
use crate::docker::{Bindings, Docker, DockerCommand, DockerError, Slot};
use crate::outcome::{Outcome, on_one_line};
use crate::plan::{Failure, JOB_STATUS, Place, Plan, When, key_hint};
use crate::trace::Trace;
use cleanup::Made;
pub use enter::Terminal;
use trouble::Trouble;

pub use helper_image::build as build_helper_image;

/// Where one process at a time builds an image. `None`: the job is to end first.
pub type BuildLock<'a> = &'a (dyn Fn(&Cancel) -> anyhow::Result<Option<std::fs::File>> + Sync);

/// What a plan is run with.
pub struct Executor<'a> {
    /// What is to be done.
    pub plan: &'a Plan,
    /// The engine to do it on.
    pub docker: &'a Docker,
    /// Where the log goes.
    pub trace: &'a Trace,
    /// Whoever wants to stop it.
    pub cancel: &'a Cancel,
    /// Held while the helper image is built.
    pub build_lock: BuildLock<'a>,
    /// Whether the log has nothing of this job yet.
    pub first: bool,
    /// Hears what became of the job when its log is complete, before what it made is removed.
    pub ended: &'a (dyn Fn(&Outcome) + Sync),
    /// Hears the name of each [`Span`] when it begins.
    pub began: &'a (dyn Fn(&'static str) + Sync),
    /// The terminal of somebody who wants a shell where the script fails.
    pub terminal: Option<Terminal<'a>>,
}

/// How a job ended.
pub struct Report {
    /// What became of it.
    pub outcome: Outcome,
    /// Whether everything was removed that was made for it, caches aside. If not, the runner's own log says
    /// what is left.
    pub clean: bool,
    /// The job was not begun: on this engine, somebody whom this host knows nothing of has its names.
    pub taken: bool,
    /// What its time went into, in the order of the ends.
    pub spans: Vec<Span>,
    /// See [`Trace::last_lines`].
    pub last_lines: Vec<String>,
}

/// A part of a job's time; they overlap.
#[derive(Clone, Debug)]
pub struct Span {
    /// `prepare`, `pull`, `service`, `wait_for_services`, `helper`, a stage's name, `cleanup`.
    pub name: &'static str,
    /// Which one, where there are several: an image's name.
    pub subject: String,
    /// When it began.
    pub began: Instant,
    /// How long it took.
    pub took: Duration,
}

/// Why a job does not go on.
enum Stop {
    Outcome(Outcome),
    Docker(DockerError),
}

impl From<DockerError> for Stop {
    fn from(error: DockerError) -> Self {
        Self::Docker(error)
    }
}

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Self {
        Self::Outcome(Outcome::SystemFailure(format!(
            "cannot write the log: {error}"
        )))
    }
}

fn system_failure(reason: impl Into<String>) -> Stop {
    Stop::Outcome(Outcome::SystemFailure(reason.into()))
}

/// A run that is under way.
struct Run<'a> {
    plan: &'a Plan,
    docker: &'a Docker,
    trace: &'a Trace,
    /// Triggered by whoever stops the job, not by its time limit.
    canceled: &'a Cancel,
    /// Triggered by the job's time limit too.
    cancel: &'a Cancel,
    /// Triggered when the last stage has ended, for what only goes along with them.
    ended: Cancel,
    first: bool,
    build_lock: BuildLock<'a>,
    bindings: Mutex<Bindings>,
    made: Mutex<Made>,
    spans: Mutex<Vec<Span>>,
    trouble: Trouble,
    began: &'a (dyn Fn(&'static str) + Sync),
    terminal: Option<Terminal<'a>>,
}

impl Executor<'_> {
    /// Runs the plan, with its last line in the log, and cleans up.
    #[must_use]
    pub fn run(&self) -> Report {
        let limited = self.cancel.child(self.plan.timeout);
        let run = Run {
            plan: self.plan,
            docker: self.docker,
            trace: self.trace,
            canceled: self.cancel,
            cancel: &limited,
            ended: Cancel::new(),
            first: self.first,
            build_lock: self.build_lock,
            bindings: Mutex::default(),
            made: Mutex::default(),
            spans: Mutex::default(),
            trouble: Trouble::default(),
            began: self.began,
            terminal: self.terminal,
        };
        let work = || {
            thread::scope(|followers| {
                // Also after a panic: nobody could wait for the followers.
                let _ended = Ending(&run.ended);
                run.job(followers)
            })
        };
        // What was made is written down, so that it can be removed whatever went wrong.
        let result = catch_unwind(AssertUnwindSafe(work))
            .unwrap_or_else(|panic| Err(Stop::Outcome(Outcome::of_panic(&*panic))));
        if matches!(&result, Err(Stop::Docker(error)) if error.kind == Kind::Conflict) {
            let outcome = Outcome::SystemFailure("the names of the job are taken".to_owned());
            return Report {
                outcome,
                clean: run.give_way(),
                taken: true,
                spans: Vec::new(),
                last_lines: Vec::new(),
            };
        }
        let mut outcome = result.unwrap_or_else(|stop| run.outcome_of(stop));
        let sgr = if outcome.is_success() { "32;1" } else { "31;1" };
        if let Err(error) = self
            .trace
            .end(&self.trace.coloured(sgr, &outcome.to_string()))
        {
            outcome = Outcome::SystemFailure(format!("cannot write the log: {error}"));
        }
        (self.ended)(&outcome);
        let clean = run.timed("cleanup", "", || run.clean_up()) && !run.has_abandoned();
        Report {
            outcome,
            clean,
            taken: false,
            spans: run
                .spans
                .into_inner()
                .unwrap_or_else(PoisonError::into_inner),
            last_lines: self.trace.last_lines(),
        }
    }
}

/// Ends what goes along with the stages when it is dropped.
struct Ending<'a>(&'a Cancel);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.trigger(Reason::Canceled);
    }
}

impl Run<'_> {
    /// Everything but the end. `followers` go along until then.
    fn job<'scope>(&'scope self, followers: &'scope Scope<'scope, '_>) -> Result<Outcome, Stop> {
        if self.first {
            for line in &self.plan.header {
                self.trace.line(line)?;
            }
            for warning in &self.plan.warnings {
                self.trace.warning(warning)?;
            }
        }
        let waiting = self.ready(followers)?;
        self.build(waiting, followers)
    }

    /// Does something and notes how long it took.
    fn timed<T>(&self, name: &'static str, subject: &str, work: impl FnOnce() -> T) -> T {
        (self.began)(name);
        let began = Instant::now();
        let result = work();
        self.note(name, subject, began);
        result
    }

    /// Notes that something which began then has ended.
    fn note(&self, name: &'static str, subject: &str, began: Instant) {
        let span = Span {
            name,
            subject: subject.to_owned(),
            began,
            took: began.elapsed(),
        };
        let mut spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        spans.push(span);
    }

    /// The value of a command's slots, as far as they are known.
    fn bound(&self, command: &DockerCommand) -> DockerCommand {
        command.bind(&self.bindings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn bind(&self, slot: &Slot, value: String) {
        self.bindings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(slot.clone(), value);
    }

    fn made(&self) -> std::sync::MutexGuard<'_, Made> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a short command that must succeed, unless the job is being stopped.
    fn capture(&self, command: &DockerCommand) -> Result<String, Stop> {
        self.check_canceled()?;
        Ok(self.ask(command)?)
    }

    fn check_canceled(&self) -> Result<(), Stop> {
        self.cancel.reason().map_or(Ok(()), |reason| {
            Err(Stop::Outcome(outcome_of_reason(reason)))
        })
    }

    /// What the job's end is to be called after an error.
    fn outcome_of(&self, stop: Stop) -> Outcome {
        match (stop, self.cancel.reason()) {
            // What fails while a job is being stopped fails because of that.
            (_, Some(reason)) => outcome_of_reason(reason),
            (Stop::Outcome(outcome), None) => outcome,
            (Stop::Docker(error), None) => {
                let hint = key_hint(&error);
                if error.is_refusal() && !hint.is_empty() {
                    let said = on_one_line(error.reason());
                    return Outcome::SystemFailure(format!(
                        "docker refuses an option: {said}{hint}"
                    ));
                }
                Outcome::SystemFailure(error.to_string())
            }
        }
    }

    fn build<'scope>(
        &'scope self,
        waiting: Option<Session>,
        followers: &'scope Scope<'scope, '_>,
    ) -> Result<Outcome, Stop> {
        let mut waiting = waiting;
        let mut outcome = Outcome::Success;
        let (mut quiet, mut build_ended) = (false, true);
        let stages = self
            .plan
            .stages
            .iter()
            .skip_while(|stage| stage.place == Place::Helper);
        for stage in stages {
            let wanted = match stage.when {
                When::OnSuccess => outcome.is_success(),
                When::OnFailure => !outcome.is_success(),
                When::Always => true,
            };
            if !wanted || self.canceled.reason().is_some() {
                continue;
            }
            let is_after_script = stage.place == Place::Build && stage.when != When::OnSuccess;
            if is_after_script && self.cancel.reason().is_some() {
                self.trace.warning(&format!(
                    "{} is left out: the job's time is over",
                    stage.name
                ))?;
                continue;
            }
            if !self.can_go_on(&outcome) {
                self.trace.warning(&format!(
                    "{} is left out: the docker engine does not answer",
                    words(stage.name)
                ))?;
                if outcome.is_success() && stage.failure != Failure::Warning {
                    outcome = self.outcome_of(Stop::Outcome(outcome_of_reason(Reason::NoEngine)));
                }
                continue;
            }
            self.bind(&Slot::new(JOB_STATUS), outcome.job_status().to_owned());
            let result = match (stage.place, stage.when) {
                (Place::Build, When::OnSuccess) => {
                    let ended = self.build_script(stage, waiting.take(), followers);
                    self.trace.script_ended()?;
                    ended
                }
                (Place::Build, _) => {
                    build_ended &= self.after_script(stage)?;
                    continue;
                }
                (Place::Helper, _) => self
                    .alone(&mut quiet, build_ended, &outcome)
                    .and_then(|()| self.late_helper_stage(stage))
                    .map(|_| Outcome::Success),
            };
            let ended = match result {
                Err(Stop::Docker(error)) if error.kind == Kind::Conflict => {
                    return Err(Stop::Docker(error));
                }
                result => result.unwrap_or_else(|stop| self.outcome_of(stop)),
            };
            if outcome.is_success() {
                outcome = ended;
            }
        }
        Ok(self.canceled.reason().map_or(outcome, outcome_of_reason))
    }

    /// Sees to it, once, that the helper has the job's volumes for itself.
    fn alone(&self, quiet: &mut bool, build_ended: bool, outcome: &Outcome) -> Result<(), Stop> {
        if !*quiet {
            let ended = matches!(outcome, Outcome::Success | Outcome::ScriptFailure { .. });
            self.quiet(!(ended && build_ended))?;
            *quiet = true;
        }
        Ok(())
    }

    /// Makes the build container and starts it, by one of the plan's commands for that.
    fn start_build(&self, run: &DockerCommand) -> Result<Session, Stop> {
        self.made().containers.push(self.plan.build.name.clone());
        Ok(self.docker.start(&self.bound(run))?)
    }
}

fn outcome_of_reason(reason: Reason) -> Outcome {
    match reason {
        Reason::Canceled => Outcome::Canceled,
        Reason::Stopped => Outcome::SystemFailure("the runner was stopped".to_owned()),
        Reason::NoEngine => Outcome::SystemFailure("the docker engine does not answer".to_owned()),
        Reason::TimedOut(limit) => Outcome::TimedOut(limit),
    }
}

/// `get_sources` as people say it.
fn words(name: &str) -> String {
    name.replace('_', " ")
}

/// The result of a thread; a panic goes on in this one.
fn joined<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
