//! A script into a container, its output into the log, its status out.

use super::context::Context;
use super::markers::{Part, Reader};
use super::spans::Activity;
use super::stop::Stop;
use crate::cancel::Cancel;
use crate::docker::session::{Session, Status};
use crate::docker::{DockerCommand, DockerError, Word};
use crate::plan::StageKind;

/// How much of a script's output is kept, in bytes: at its end a client says why it failed.
const TAIL: usize = 2048;

/// What became of a script that was sent, as far as the client tells.
pub(super) struct Sent {
    /// What the client ended with.
    pub status: Status,
    /// The script said that it succeeded.
    pub succeeded: bool,
    /// The end of what was printed.
    pub tail: Vec<u8>,
}

impl Sent {
    /// What the client said, if it was the last that spoke.
    pub fn error(&self, command: &DockerCommand) -> DockerError {
        DockerError::from_stderr(command.to_string(), self.status.0, &self.tail)
    }

    /// What very probably made it fail, to be put behind its status.
    pub fn cause(&self) -> &'static str {
        let text = String::from_utf8_lossy(&self.tail).to_ascii_lowercase();
        let no_room = ["no space left on device", "out of diskspace"];
        if no_room.iter().any(|words| text.contains(words)) {
            "; the engine's disk is full"
        } else {
            ""
        }
    }
}

/// Sends a stage's script, and its output to the log. `cancel` ends the client.
pub(super) fn send(
    context: &Context,
    (kind, script): (StageKind, &Word),
    session: Session,
    cancel: &Cancel,
) -> Result<Sent, Stop> {
    let script = context.engine.filled(script);
    let mut tail = Vec::new();
    let mut log = |bytes: &[u8]| {
        tail.extend_from_slice(&bytes[bytes.len().saturating_sub(TAIL)..]);
        tail.drain(..tail.len().saturating_sub(TAIL));
        context.trace.write(bytes)
    };
    let mut markers = Reader::default();
    let mut succeeded = false;
    let mut output = |bytes: &[u8]| {
        markers.push(bytes, &mut |part| match part {
            Part::Text(text) => log(text),
            Part::Succeeded => {
                succeeded = true;
                Ok(())
            }
            Part::Begun | Part::Failed => Ok(()),
        })
    };
    let run = || session.run(&script, &mut output, cancel);
    let status = context.spans.timed(Activity::Stage(kind), "", run)?;
    log(markers.rest())?;
    Ok(Sent {
        status,
        succeeded,
        tail,
    })
}
