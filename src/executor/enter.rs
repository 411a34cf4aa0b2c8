//! A script whose failure somebody at a terminal wants to look into: its container waits, and they get a shell
//! in it.

use std::time::Duration;

use super::marks::{Part, Reader};
use super::{Run, Stop};
use crate::cancel::Cancel;
use crate::docker::DockerCommand;
use crate::docker::error::Kind;
use crate::docker::session::{Session, Status};
use crate::plan::Stage;

/// Lends the terminal to whatever it is given, which then runs on it alone.
pub type Terminal<'a> = &'a (dyn Fn(&mut dyn FnMut()) + Sync);

/// How long an entrypoint may take to become the job's shell. One that never does may want the end of its
/// standard input.
const BEGIN: Duration = Duration::from_secs(10);

impl Run<'_> {
    /// Runs the job's script. Where it fails, its first process waits for the end of its standard input, which
    /// comes when the shell has been left. No time limit ends the shell.
    pub(super) fn send_attended(
        &self,
        stage: &Stage,
        session: Session,
        client: &Cancel,
        limited: &Cancel,
        (terminal, enter): (Terminal, &DockerCommand),
    ) -> Result<Status, Stop> {
        let script = self.script(stage);
        let held = Cancel::new().child(Some(BEGIN));
        let mut marks = Reader::default();
        let mut entered = false;
        let mut output = |bytes: &[u8]| {
            marks.push(bytes, &mut |part| {
                match part {
                    Part::Text(text) => self.trace.write(text)?,
                    Part::Begun => held.lift_limit(),
                    Part::Failed => {
                        // What is being stopped fails too.
                        if limited.reason().is_none() {
                            entered = true;
                            limited.lift_limit();
                            self.cancel.lift_limit();
                            self.enter(terminal, enter);
                        }
                        held.finish();
                    }
                    Part::Succeeded => {}
                }
                Ok(())
            })
        };
        let status = self.timed(stage.name, "", || {
            session.run_held(&script, &mut output, client, &held)
        })?;
        self.trace.write(marks.rest())?;
        if !entered && status.0 != Some(0) && limited.reason().is_none() {
            self.trace.warning(
                "no shell: the build container has ended, its entrypoint runs no script, or something killed it",
            )?;
        }
        Ok(status)
    }

    fn enter(&self, terminal: Terminal, command: &DockerCommand) {
        let command = self.bound(command);
        terminal(&mut || {
            // Whoever had the terminal before may have been told to stop everything.
            if self.canceled.reason().is_some() {
                return;
            }
            match self.docker.interactive(&command, self.canceled) {
                Err(error) if error.kind != Kind::Canceled => log::error!("no shell: {error}"),
                // What its last command ended with says nothing.
                _ => {}
            }
        });
    }
}
