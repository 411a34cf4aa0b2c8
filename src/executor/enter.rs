//! A script whose failure a person at a terminal wants to look into: its container waits, and they get a shell in it.

use std::time::Duration;

use super::context::{Context, Terminal};
use super::markers::{Part, Reader};
use super::send::Sent;
use super::spans::Activity;
use super::stop::Stop;
use crate::cancel::Cancel;
use crate::docker::DockerCommand;
use crate::docker::error::Kind;
use crate::docker::session::Session;
use crate::plan::BuildStage;

/// How long an entrypoint may take to become the job's shell. One that never does may want the end of its
/// standard input.
const BEGIN: Duration = Duration::from_secs(10);

/// As [`super::send::send`]. Where the script fails, its first process waits for the end of its standard input, which
/// comes when the shell has been left. No time limit ends the shell.
pub(super) fn send(
    context: &Context,
    stage: &BuildStage,
    session: Session,
    client: &Cancel,
    limited: &Cancel,
    (terminal, enter): (Terminal, &DockerCommand),
) -> Result<Sent, Stop> {
    let script = context.engine.filled(&stage.script);
    let held = Cancel::new().child(Some(BEGIN));
    let mut markers = Reader::default();
    let mut entered = false;
    let mut output = |bytes: &[u8]| {
        markers.push(bytes, &mut |part| {
            match part {
                Part::Text(text) => context.trace.write(text)?,
                Part::Begun => held.lift_limit(),
                Part::Failed => {
                    // What is being stopped fails too.
                    if limited.reason().is_none() {
                        entered = true;
                        limited.lift_limit();
                        context.engine.cancel.lift_limit();
                        open_shell(context, terminal, enter);
                    }
                    held.finish();
                }
                Part::Succeeded => {}
            }
            Ok(())
        })
    };
    let run = || session.run_held(&script, &mut output, client, &held);
    let status = context.spans.timed(Activity::Stage(stage.kind), "", run)?;
    context.trace.write(markers.rest())?;
    if !entered && status.0 != Some(0) && limited.reason().is_none() {
        context.trace.warning(
            "no shell: the build container has ended, its entrypoint runs no script, or something killed it",
        )?;
    }
    Ok(Sent {
        status,
        succeeded: false,
        tail: Vec::new(),
    })
}

fn open_shell(context: &Context, terminal: Terminal, command: &DockerCommand) {
    terminal(&mut || {
        // The job that had the terminal before may have been told to stop everything.
        if context.engine.canceled.reason().is_some() {
            return;
        }
        match context.engine.interactive(command) {
            Err(error) if error.kind != Kind::Canceled => log::error!("no shell: {error}"),
            // What its last command ended with says nothing.
            _ => {}
        }
    });
}
