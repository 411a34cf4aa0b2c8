//! A script whose failure somebody at a terminal wants to look into: its container waits, and they get a shell
//! in it.

use std::io;
use std::time::Duration;

use super::{Run, Stop};
use crate::cancel::Cancel;
use crate::docker::DockerCommand;
use crate::docker::error::Kind;
use crate::docker::session::{Session, Status};
use crate::plan::Stage;
use crate::script::{BEGUN, FAILED};

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
        let script = self.script(stage)?;
        let held = Cancel::new().child(Some(BEGIN));
        let mut marks = Marks::default();
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
                }
                Ok(())
            })
        };
        let status = self.timed(stage.name, "", || {
            session.run_held(&script, &mut output, client, &held)
        })?;
        self.trace.write(&marks.held)?;
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

/// Finds the script's marks in its output, also where one is torn over two reads.
#[derive(Default)]
struct Marks {
    /// What may be the beginning of a mark.
    held: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
enum Part<'a> {
    Text(&'a [u8]),
    Begun,
    Failed,
}

impl Marks {
    fn push(
        &mut self,
        bytes: &[u8],
        take: &mut dyn FnMut(Part) -> io::Result<()>,
    ) -> io::Result<()> {
        self.held.extend_from_slice(bytes);
        let text = std::mem::take(&mut self.held);
        let mut rest = text.as_slice();
        while let Some(at) = rest.iter().position(|byte| *byte == b'\x1b') {
            let (before, tail) = rest.split_at(at);
            take(Part::Text(before))?;
            rest = tail;
            let marks = [(BEGUN, Part::Begun), (FAILED, Part::Failed)];
            if marks.iter().any(|(mark, _)| is_begin(rest, mark)) {
                self.held = rest.to_vec();
                return Ok(());
            }
            let found = marks
                .into_iter()
                .find(|(mark, _)| rest.starts_with(mark.as_bytes()));
            if let Some((mark, part)) = found {
                take(part)?;
                rest = &rest[mark.len()..];
            } else {
                take(Part::Text(&rest[..1]))?;
                rest = &rest[1..];
            }
        }
        take(Part::Text(rest))
    }
}

/// Whether a mark may go on from here.
fn is_begin(text: &[u8], mark: &str) -> bool {
    text.len() < mark.len() && mark.as_bytes().starts_with(text)
}

#[cfg(test)]
mod tests {
    use super::{Marks, Part};
    use crate::script::{BEGUN, FAILED};

    #[test]
    fn marks_are_found_wherever_they_are_torn() {
        let text = format!("{BEGUN}a \x1b[31mred\x1b[0m{FAILED}after\x1b");
        for cut in 0..=text.len() {
            let (left, right) = text.as_bytes().split_at(cut);
            let mut marks = Marks::default();
            let mut seen = String::new();
            for bytes in [left, right] {
                marks
                    .push(bytes, &mut |part| {
                        match part {
                            Part::Text(text) => seen += std::str::from_utf8(text).expect("UTF-8"),
                            Part::Begun => seen += "<begun>",
                            Part::Failed => seen += "<failed>",
                        }
                        Ok(())
                    })
                    .expect("memory");
            }
            assert_eq!(seen, "<begun>a \x1b[31mred\x1b[0m<failed>after");
            assert_eq!(marks.held, b"\x1b", "cut at {cut}");
        }
    }
}
