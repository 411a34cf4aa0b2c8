//! What comes before the script: services and helper are started, the sources fetched, the services waited for. Where
//! that is safe, the build container is started too: its shell waits for the script.
//!
//! While the helper works on the job's volumes, nothing of the job's runs that has them too: the services are paused,
//! and the build container is held.

use std::thread::{self, Scope};

use super::context::{Context, joined};
use super::images::Resolved;
use super::phase::Phase;
use super::prepare::clear_nested;
use super::repair::restoring;
use super::sections::Section;
use super::spans::Activity;
use super::stop::{Stop, system_failure};
use super::{build, helper, services};
use crate::docker::error::Kind;
use crate::docker::session::Session;
use crate::logging::carried;
use crate::plan::{HelperStart, StageKind, lines};
use crate::script::NO_REPOSITORY;

/// What is there for the script.
pub(super) struct Ready {
    /// A build container that waits for it.
    pub build: Option<Session>,
    /// The helper has ended with its only stage: nothing but the build container holds the volumes with the sources.
    pub helper_has_ended: bool,
}

/// What there is when the sources are there.
struct Fetched {
    /// What asks the services from the helper, when they run.
    check: Option<Session>,
    helper_has_ended: bool,
}

/// Pauses the services.
type Pause<'p> = &'p mut dyn FnMut() -> Result<(), Stop>;

/// Does all of it, with images that are there. Threads that copy the logs of services into the job's run in `followers`,
/// until the job has ended.
pub(super) fn fetch<'scope>(
    context: &'scope Context,
    images: &[Resolved],
    phase: Phase,
    followers: &'scope Scope<'scope, '_>,
) -> Result<Ready, Stop> {
    let plan = context.plan;
    clear_nested(context)?;
    thread::scope(|scope| {
        let mut starting = None;
        if !plan.services.is_empty() {
            for service in &plan.services {
                context.say(&lines::starting_service(service))?;
            }
            let start = || -> Result<_, Stop> {
                let started = services::start_all(context, followers)?;
                services::pause_all(context, started)
            };
            starting = Some(scope.spawn(carried(start)));
        }
        let mut paused = None;
        let mut pause = || -> Result<(), Stop> {
            if let Some(services) = starting.take() {
                paused = Some(joined(services)?);
            }
            Ok(())
        };
        if plan.services_first {
            pause()?;
        }
        context.say(&lines::running_on(plan))?;

        let shell_runs = images.first().is_none_or(|image| image.runs_at_once);
        let waiting = match &plan.build.held {
            Some(held) if !shell_runs => {
                context.engine.check_canceled()?;
                Some(build::start(context, held)?)
            }
            _ => None,
        };
        let Fetched {
            check,
            helper_has_ended,
        } = start_helper_and_fetch(context, phase, waiting.is_some(), &mut pause)?;
        if let Some(paused) = paused {
            services::resume(context, paused, check, followers)?;
        }
        Ok(Ready {
            build: waiting,
            helper_has_ended,
        })
    })
}

/// Starts the helper the first way that shows it the sources, and runs the stages that come before the script in it,
/// when `pause` has returned.
fn start_helper_and_fetch(
    context: &Context,
    phase: Phase,
    build_waits: bool,
    pause: Pause,
) -> Result<Fetched, Stop> {
    let plan = context.plan;
    let last = plan.helper_starts.len().saturating_sub(1);
    for (index, start) in plan.helper_starts.iter().enumerate() {
        if index > 0 {
            context.engine.remove_container(&plan.helper)?;
        } else {
            context.made.container(&plan.helper);
        }
        match fetch_by(context, start, phase, build_waits, pause) {
            Err(Stop::Docker(error)) if error.kind == Kind::NoBindSource && index < last => {}
            Err(stop) => return Err(stop),
            Ok(Some(fetched)) => return Ok(fetched),
            Ok(None) if index < last => {}
            Ok(None) => return Err(system_failure(lines::NO_SOURCES)),
        }
    }
    Err(system_failure(
        "there is no way to start the helper container",
    ))
}

/// Starts the helper one way and runs those stages in it. `None`: it does not see the sources.
fn fetch_by(
    context: &Context,
    start: &HelperStart,
    phase: Phase,
    build_waits: bool,
    pause: Pause,
) -> Result<Option<Fetched>, Stop> {
    let plan = context.plan;
    if let (Some(only), true) = (&start.once, build_waits) {
        pause()?;
        context
            .sections
            .enter(Section::Stage(StageKind::GetSources, true))?;
        let run = || helper::run_alone(context, only, phase);
        let status = restoring(context, &plan.helper, run)?;
        return Ok((status != NO_REPOSITORY).then_some(Fetched {
            check: None,
            helper_has_ended: true,
        }));
    }
    // What has run in the services until now may have led the ways astray again.
    let again = plan.clear_nested.is_some() && !plan.services.is_empty();
    if again {
        pause()?;
    }
    context.spans.timed(Activity::Helper, "", || {
        restoring(context, &plan.helper, || {
            if again {
                clear_nested(context)?;
            }
            let mut commands = start.commands.iter();
            commands.try_for_each(|command| context.engine.tell(command).map(drop))
        })
    })?;
    // It waits for its standard input until the services run.
    let check = plan.health_check.as_ref();
    let check = check.map(|check| context.engine.start_apart(check));
    let check = check.transpose()?;
    pause()?;
    for stage in &plan.fetch {
        context.sections.enter(Section::Stage(stage.kind, true))?;
        if helper::run(context, stage, phase, context.engine.cancel)? == NO_REPOSITORY {
            return Ok(None);
        }
    }
    Ok(Some(Fetched {
        check,
        helper_has_ended: false,
    }))
}
