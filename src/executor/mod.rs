//! Runs a plan on an engine, with the job's log, and removes what it made.
//!
//! The steps of a job, each with its module:
//!
//! 1. [`prepare`]: network, volumes ([`resources`]) and images ([`images`], [`helper_image`]), in parallel.
//! 2. [`fetch`]: [`services`] and helper are started, and the plan's `fetch` stages run in the [`helper`].
//! 3. [`script`]: the job's own scripts run in the container of [`build`]; [`verdict`] decides how they ended.
//! 4. [`finish`](self::finish): the plan's `finish` stages run in the helper.
//! 5. [`cleanup`]: everything that was [made](cleanup::Made) is removed, however the job ends: it is noted before it is
//!    made.
//!
//! Four modules recover from trouble with the engine: [`liveness`] (whether it answers), [`restart`] (it stopped before
//! the script was sent: the job starts again), [`repair`] (something was removed: it is made again) and [`resources`]
//! (all address pools are in use: the job waits for one). Any other error ends the job and names the cause. No wait is
//! without a limit.
//!
//! [`orphans`] and [`old_images`] remove what no job has removed; [`shown`] and [`store`] keep artifacts of local jobs.

mod build;
mod cleanup;
mod context;
mod engine;
mod enter;
mod fetch;
mod helper;
mod helper_image;
mod hints;
mod images;
mod liveness;
mod markers;
pub mod old_images;
pub mod orphans;
mod phase;
mod prepare;
mod repair;
mod report;
mod resources;
mod restart;
mod script;
mod sections;
mod send;
mod services;
pub mod shown;
mod spans;
mod stop;
mod store;
mod verdict;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::thread::{self, Scope};

use crate::cancel::{Cancel, Reason};
use crate::docker::error::Kind;
use crate::docker::{Docker, DockerError, Slot};
use crate::outcome::Outcome;
use crate::plan::{Failure, JOB_STATUS, Plan, StageKind, lines};
use crate::trace::Trace;
use cleanup::{Made, give_way};
use context::Context;
pub use context::{BuildLock, Terminal};
use engine::Engine;
use fetch::Ready;
use phase::Phase;
pub use report::Report;
use sections::{Section, Sections};
use spans::Spans;
pub use spans::{Activity, Span};
use stop::{Stop, cannot_write, outcome_of};

pub use helper_image::{bring as bring_helper_image, build as build_helper_image};

/// A plan, and all that is needed to run it.
pub struct Executor<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The engine to run it on.
    pub docker: &'a Docker,
    /// The job's log.
    pub trace: &'a Trace,
    /// Stops it when it is triggered.
    pub cancel: &'a Cancel,
    /// The same where no script runs; of a script that runs, only the `after_script` follows.
    pub canceling: &'a Cancel,
    /// Held while the helper image is built.
    pub build_lock: BuildLock<'a>,
    /// Other engines, which may have the helper image.
    pub others: &'a (dyn Fn() -> Vec<Docker> + Sync),
    /// Asked where the engine cannot be reached and nothing was made on it: whether another one takes the job, which
    /// is not ended then.
    pub elsewhere: &'a (dyn Fn(&Trace, &DockerError) -> bool + Sync),
    /// Whether the log is still empty: a job that starts again under other names or on another engine goes on with the
    /// same log.
    pub first: bool,
    /// Called with the outcome when the log is complete, before containers and volumes are removed.
    pub ended: &'a (dyn Fn(&Outcome) + Sync),
    /// Called when an activity begins.
    pub began: &'a (dyn Fn(Activity) + Sync),
    /// The terminal of a person who wants a shell where the script fails.
    pub terminal: Option<Terminal<'a>>,
}

impl Executor<'_> {
    /// Runs the plan, with its last line in the log, and cleans up.
    #[must_use]
    pub fn run(&self) -> Report {
        let limited = self.cancel.child(self.plan.timeout);
        let context = Context {
            plan: self.plan,
            engine: Engine::new(self.docker, self.trace, self.cancel, &limited),
            trace: self.trace,
            sections: Sections::new(self.plan.log_form.sections.then_some(self.trace)),
            canceling: self.canceling,
            spans: Spans::new(self.began),
            made: Made::default(),
            build_lock: self.build_lock,
            others: self.others,
            terminal: self.terminal,
            repairing: Mutex::default(),
            preparing: Mutex::new(
                self.plan
                    .prepare_timeout
                    .map(|it| limited.triggered_after(it)),
            ),
            over: Cancel::new(),
        };
        let work = || {
            thread::scope(|followers| {
                // Also after a panic: else the scope would wait for the followers for ever.
                let _over = TriggerOnDrop(&context.over);
                job(&context, self.first, followers)
            })
        };
        // What was made is written down, so that it can be removed whatever went wrong.
        let result = catch_unwind(AssertUnwindSafe(work))
            .unwrap_or_else(|panic| Err(Stop::Outcome(Outcome::of_panic(&*panic))));
        let sections_ended = context.sections.end();
        if matches!(&result, Err(Stop::Docker(error)) if error.kind == Kind::Conflict) {
            return Report {
                taken: true,
                ..Report::not_begun(
                    "the names of the job are taken",
                    give_way(self.plan, &context.engine),
                )
            };
        }
        if let Err(Stop::Docker(error)) = &result
            && context.engine.was_never_reached(error)
            && (self.elsewhere)(self.trace, error)
        {
            // A connection may have been lost after the engine had read what to make.
            return Report::not_begun("the docker engine cannot be reached", !error.is_cut_off());
        }
        let mut outcome = result.unwrap_or_else(|stop| stop.outcome(limited.reason()));
        if let (Outcome::SystemFailure(reason), Some(engine), None) =
            (&mut outcome, &self.plan.engine, self.cancel.reason())
        {
            reason.text.push_str("; engine: ");
            reason.text.push_str(engine);
        }
        let sgr = if outcome.is_success() { "32;1" } else { "31;1" };
        let last = self.trace.coloured(sgr, &outcome.to_string());
        if let Err(error) = sections_ended.and_then(|()| self.trace.end(&last)) {
            outcome = cannot_write(&error);
        }
        (self.ended)(&outcome);
        let Context {
            made,
            engine,
            spans,
            ..
        } = context;
        let removed = spans.timed(Activity::CleanUp, "", || made.clean_up(self.plan, &engine));
        Report {
            outcome,
            clean: removed && !engine.has_abandoned(),
            taken: false,
            spans: spans.into_inner(),
            last_lines: self.trace.last_lines(),
        }
    }
}

/// Ends the threads that accompany the stages, such as those that follow logs, when it is dropped.
struct TriggerOnDrop<'a>(&'a Cancel);

impl Drop for TriggerOnDrop<'_> {
    fn drop(&mut self) {
        self.0.trigger(Reason::Canceled);
    }
}

/// Runs all steps but the cleanup. `followers` are threads that accompany the stages.
fn job<'scope>(
    context: &'scope Context,
    first: bool,
    followers: &'scope Scope<'scope, '_>,
) -> Result<Outcome, Stop> {
    if first {
        for line in lines::opening(context.plan) {
            context.say(&line)?;
        }
    }
    let ready = {
        let _stops = context.stop_when_canceling();
        restart::ready(context, Phase::Preparing, followers)
    };
    if context.end_preparing() {
        context.trace.warning(
            "images, services and helper took longer than prepare_timeout of this runner",
        )?;
    }
    let ready = ready?;
    if let Some(reason) = context.canceling.reason() {
        return Err(reason.into());
    }
    let outcome = run_script(context, ready, followers)?;
    let outcome = run_releases(context, outcome)?;
    context.trace.script_ended()?;
    let (outcome, build_ended) = run_after_script(context, outcome)?;
    let _stops = context.stop_when_canceling();
    let outcome = finish(context, outcome, build_ended)?;
    Ok(context.canceled().map_or(outcome, outcome_of))
}

/// The job's `script`.
fn run_script<'scope>(
    context: &'scope Context,
    ready: Ready,
    followers: &'scope Scope<'scope, '_>,
) -> Result<Outcome, Stop> {
    let engine = &context.engine;
    if let Some(reason) = engine.canceled.reason() {
        return Ok(outcome_of(reason));
    }
    if !engine.is_worth_trying_after(&Outcome::Success) {
        left_out(context, StageKind::Script)?;
        return ended_with(context, Err(Reason::NoEngine.into()));
    }
    ended_with(context, script::run(context, ready, followers))
}

/// What the job releases, as long as all went well. Returns the job's outcome.
fn run_releases(context: &Context, outcome: Outcome) -> Result<Outcome, Stop> {
    let engine = &context.engine;
    let mut outcome = outcome;
    for stage in &context.plan.releases {
        if !outcome.is_success() || context.canceled().is_some() {
            break;
        }
        let ended = if engine.is_worth_trying_after(&outcome) {
            script::run_next(context, stage)
        } else {
            left_out(context, stage.kind)?;
            Err(Reason::NoEngine.into())
        };
        outcome = ended_with(context, ended)?;
    }
    Ok(outcome)
}

/// The job's `after_script`. Returns the job's outcome, and whether nothing of it may run any more.
fn run_after_script(context: &Context, outcome: Outcome) -> Result<(Outcome, bool), Stop> {
    let engine = &context.engine;
    let Some(stage) = &context.plan.after_script else {
        return Ok((outcome, true));
    };
    if engine.canceled.reason().is_some() {
        return Ok((outcome, true));
    }
    if engine.cancel.reason().is_some() {
        context.say(&lines::after_script_left_out())?;
        return Ok((outcome, true));
    }
    if !engine.is_worth_trying_after(&outcome) {
        left_out(context, stage.kind)?;
        return Ok((outcome, true));
    }
    let status = match outcome {
        Outcome::TimedOut(_) => context.plan.timed_out,
        _ => outcome.job_status(),
    };
    engine.bind(&Slot::new(JOB_STATUS), status.to_owned());
    let (own, has_ended) = script::run_after(context, stage)?;
    let counts = !context.plan.ignores_after_script && outcome.is_success();
    Ok((if counts { own } else { outcome }, has_ended))
}

/// What follows in the helper. Returns the job's outcome: its first failure.
fn finish(context: &Context, outcome: Outcome, build_ended: bool) -> Result<Outcome, Stop> {
    // One of these stages that fails takes none of the others with it: each report counts by itself.
    let success = outcome.is_success();
    let mut outcome = outcome;
    let mut is_quiet = false;
    for stage in &context.plan.finish {
        if !stage.when.holds(success) || context.canceled().is_some() {
            continue;
        }
        let section = Section::Stage(stage.kind, success);
        context.sections.enter(section)?;
        let ended = if context.engine.is_worth_trying_after(&outcome) {
            // Once, before the first stage: the helper is to have the job's volumes for itself.
            let quiet = if is_quiet {
                Ok(())
            } else {
                let told = matches!(outcome, Outcome::Success | Outcome::ScriptFailure { .. });
                services::quiet(context, !(told && build_ended))
            };
            is_quiet |= quiet.is_ok();
            quiet.and_then(|()| helper::run_late(context, stage))
        } else {
            left_out(context, stage.kind)?;
            match stage.failure {
                Failure::Warning => Ok(()),
                Failure::System | Failure::Refusable | Failure::Job => Err(Reason::NoEngine.into()),
            }
        };
        let ended = ended_with(context, ended.map(|()| Outcome::Success))?;
        if outcome.is_success() {
            outcome = ended;
        }
    }
    Ok(outcome)
}

/// What a stage's end is for the job. Names that are taken end it at once.
fn ended_with(context: &Context, ended: Result<Outcome, Stop>) -> Result<Outcome, Stop> {
    match ended {
        Err(Stop::Docker(error)) if error.kind == Kind::Conflict => Err(Stop::Docker(error)),
        ended => Ok(ended.unwrap_or_else(|stop| stop.outcome(context.engine.cancel.reason()))),
    }
}

fn left_out(context: &Context, kind: StageKind) -> std::io::Result<()> {
    let why = "the docker engine does not answer";
    let warning = format!("{kind} is left out: {why}");
    context.trace.warning(&warning)
}
