//! The build container: it is made and started, a script runs in it, and is ended where its time is over.

use std::thread;
use std::time::Duration;

use super::context::Context;
use super::sections::Section;
use super::send::{Sent, send};
use super::stop::Stop;
use super::{enter, hints, verdict};
use crate::cancel::{Cancel, FinishOnDrop, Reason};
use crate::docker::DockerCommand;
use crate::docker::session::Session;
use crate::logging::carried;
use crate::outcome::Outcome;
use crate::plan::{BuildStage, GRACE, StageKind};

/// How long docker may take to hear of an end.
const ANSWER: Duration = Duration::from_secs(3);

/// The container that a script runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Container {
    /// It was made for the script.
    New,
    /// It was there.
    Existing,
}

/// Makes the build container and starts it, by one of the plan's commands for that.
pub(super) fn start(context: &Context, run: &DockerCommand) -> Result<Session, Stop> {
    context.made.container(&context.plan.build.name);
    Ok(context.engine.start(run)?)
}

/// Runs a script in the build container, by a client that waits for it.
pub(super) fn run_stage(
    context: &Context,
    stage: &BuildStage,
    session: Session,
    container: Container,
) -> Result<Outcome, Stop> {
    context.sections.enter(Section::Stage(stage.kind, true))?;
    let limited = context.engine.cancel.child(stage.timeout);
    // The `after_script` runs all the same.
    let script_ends = limited.clone();
    let _ends = (stage.kind == StageKind::Script).then(|| {
        context
            .canceling
            .on_trigger(move || script_ends.trigger(Reason::Canceled))
    });
    // Triggered, it ends the client; finished, it says that the client has ended.
    let client = Cancel::new();
    let sent = thread::scope(|scope| {
        scope.spawn(carried(|| {
            match limited.wait_for_it() {
                // It would not hear of it.
                Some(Reason::NoEngine) => client.trigger(Reason::NoEngine),
                Some(_) => end(context, &client),
                None => {}
            }
        }));
        let _finished = FinishOnDrop([&client, &limited]);
        match (context.terminal, &stage.enter) {
            (Some(terminal), Some(enter)) => {
                let shell = (terminal, enter);
                enter::send(context, stage, session, &client, &limited, shell)
            }
            _ => send(context, (stage.kind, &stage.script), session, &client),
        }
    });
    if let Some(reason) = limited.reason() {
        return Err(reason.into());
    }
    let sent: Sent = sent?;
    let outcome = verdict::of_script(context, &sent, container == Container::New)?;
    if let Some(hint) = hints::of_script(&outcome, &sent.tail) {
        context.trace.line(&format!("HINT: {hint}"))?;
    }
    Ok(outcome)
}

/// Ends what runs in the build container: TERM for all of it, and for what is still there after a while KILL. The
/// client ends with the container; one that does not is ended by `client`.
fn end(context: &Context, client: &Cancel) {
    let ending = &context.plan.build.ending;
    let limit = Cancel::new().child(Some(GRACE + ANSWER));
    let tell = |command: &DockerCommand| {
        let told = context.engine.docker.capture_with(command, None, &limit);
        if let Err(error) = &told {
            log::debug!("while a build is stopped: {error}");
        }
        told.is_ok()
    };
    let runs = tell(&ending.terminate);
    if runs && let Some(all) = &ending.terminate_all {
        tell(all);
    }
    if !runs || !client.is_over_within(GRACE) {
        tell(&ending.kill);
    }
    if client.wait(ANSWER).is_none() {
        client.trigger(Reason::Canceled);
    }
}
