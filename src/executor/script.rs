//! The job's own scripts, again in another build container where theirs was removed before they began.

use std::thread::Scope;

use super::build::{self, Container};
use super::context::{Context, RESTORATIONS};
use super::fetch::Ready;
use super::phase::Phase;
use super::repair::{restore, was_removed};
use super::restart;
use super::stop::{Stop, system_failure};
use super::verdict::NOT_RUN;
use crate::docker::error::Kind;
use crate::docker::session::{Session, Status};
use crate::outcome::Outcome;
use crate::plan::{BuildStage, lines};

/// Runs the job's `script` in a build container that waits for it, or is made now.
pub(super) fn run<'scope>(
    context: &'scope Context,
    ready: Ready,
    followers: &'scope Scope<'scope, '_>,
) -> Result<Outcome, Stop> {
    let mut ready = ready;
    let Context { plan, engine, .. } = context;
    for _ in 0..RESTORATIONS {
        engine.check_canceled()?;
        let session = match ready.build.take() {
            Some(held) => released(context, held)?,
            None => build::start(context, &plan.build.run)?,
        };
        match build::run_stage(context, &plan.script, session, Container::New) {
            Err(Stop::Docker(error))
                if error.kind == Kind::Gone || was_removed(context, &error) =>
            {
                restore(context, &plan.build.name, &error)?;
                if ready.helper_has_ended {
                    // The sources have gone with it.
                    context.made.clean_up(plan, engine);
                    ready = restart::ready(context, Phase::Running, followers)?;
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
fn released(context: &Context, held: Session) -> Result<Session, Stop> {
    match held.ended() {
        None | Some(Status(None | Some(NOT_RUN))) => Ok(held),
        Some(Status(Some(status))) => {
            log::debug!("the build container was not held: status {status}");
            drop(held);
            let build = &context.plan.build;
            context.engine.remove_container(&build.name)?;
            build::start(context, &build.run)
        }
    }
}

/// Runs a script in the build container of the one before, or in a new one where that was removed meanwhile.
pub(super) fn run_next(context: &Context, stage: &BuildStage) -> Result<Outcome, Stop> {
    context.engine.check_canceled()?;
    let name = &context.plan.build.name;
    let session = context.engine.start(&stage.command)?;
    let mut result = build::run_stage(context, stage, session, Container::Existing);
    for _ in 0..RESTORATIONS {
        match result {
            Err(Stop::Docker(error)) if was_removed(context, &error) => {
                restore(context, name, &error)?;
                let warning = format!("{} runs in a new build container", stage.kind);
                context.trace.warning(&warning)?;
                let session = build::start(context, &context.plan.build.run)?;
                result = build::run_stage(context, stage, session, Container::New);
            }
            _ => break,
        }
    }
    result
}

/// Runs the `after_script`, within the job's time. Returns what would become of the job if that were its script, and
/// whether it has ended by itself.
pub(super) fn run_after(context: &Context, stage: &BuildStage) -> Result<(Outcome, bool), Stop> {
    let (outcome, reason, has_ended) = match run_next(context, stage) {
        Ok(Outcome::Success) => return Ok((Outcome::Success, true)),
        Err(Stop::Outcome(outcome @ Outcome::Canceled)) => return Ok((outcome, false)),
        Ok(outcome @ Outcome::ScriptFailure { exit_code, .. }) => {
            (outcome, lines::exit_code(exit_code.to_string()), true)
        }
        Ok(outcome @ Outcome::TimedOut(_)) | Err(Stop::Outcome(outcome @ Outcome::TimedOut(_))) => {
            let reason = outcome.reason().into();
            (outcome, reason, false)
        }
        Ok(outcome) | Err(Stop::Outcome(outcome)) => {
            let warning = outcome.failure_of("after_script failed");
            context.trace.warning(&warning)?;
            return Ok((outcome, false));
        }
        Err(Stop::Docker(error)) => {
            let reason = error.to_string().into();
            (Stop::Docker(error).outcome(None), reason, false)
        }
    };
    context.say(&lines::after_script_failed(reason))?;
    Ok((outcome, has_ended))
}
