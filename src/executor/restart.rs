//! A job begins again where the engine went away before its script was sent, and came back.

use std::thread::Scope;

use super::context::Context;
use super::fetch::{Ready, fetch};
use super::phase::Phase;
use super::prepare::prepare;
use super::sections::Section;
use super::spans::Activity;
use super::stop::Stop;

/// How often a job may begin.
const BEGINNINGS: u32 = 3;

/// Everything before the job's script.
pub(super) fn ready<'scope>(
    context: &'scope Context,
    phase: Phase,
    followers: &'scope Scope<'scope, '_>,
) -> Result<Ready, Stop> {
    let get_ready = || {
        context.sections.enter(Section::Prepare)?;
        let images = context
            .spans
            .timed(Activity::Prepare, "", || prepare(context))?;
        fetch(context, &images, phase, followers)
    };
    let engine = &context.engine;
    for _ in 1..BEGINNINGS {
        match get_ready() {
            Err(stop)
                if phase.begins_again_after(&stop, engine) && engine.cancel.reason().is_none() =>
            {
                begin_again(context, stop)?;
            }
            result => return result,
        }
    }
    get_ready()
}

fn begin_again(context: &Context, stop: Stop) -> Result<(), Stop> {
    if let Stop::Docker(error) = &stop {
        let warning = format!("the docker engine went away: {}", error.reason());
        context.trace.warning(&warning)?;
    }
    if !context.engine.comes_back(context.engine.cancel) {
        return Err(stop);
    }
    context
        .trace
        .line("The docker engine is there again, the job begins again...")?;
    context.made.clean_up(context.plan, &context.engine);
    Ok(())
}
