//! A script while it is being written: lines, commands, and what they say.

use crate::docker::Words;
use crate::docker::{DockerCommand, Word};
use crate::plan::Plan;
use crate::plan::lines::Line;
use crate::trace::WARNING;

/// Sends away what a command says that has nothing to say in the log.
pub(super) const QUIET: &str = " >/dev/null";

/// The exit status of a script whose job failed, and of one that could not run its job: those of `exec`.
pub(super) const FAILURE: u8 = 1;
pub(super) const SYSTEM_FAILURE: u8 = 3;

/// A script that is being written.
pub(super) struct Script<'a> {
    pub plan: &'a Plan,
    pub docker: &'a Words,
    pub text: String,
}

impl Script<'_> {
    pub fn line(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
    }

    /// A command that prints a line of the log.
    pub fn saying(line: &Line) -> String {
        let text = if line.is_warning {
            Word::from(WARNING).then(&line.text)
        } else {
            line.text.clone()
        };
        format!("printf '%s\\n' {text}")
    }

    pub fn say(&mut self, line: &Line) {
        self.line(&Self::saying(line));
    }

    /// A command by which the job fails, if nothing failed before.
    pub fn failing(status: u8, line: &Line) -> String {
        format!("fail {status} {}", line.text)
    }

    pub fn command(&self, command: &DockerCommand, stdin: Option<&Word>, end: &str) -> String {
        command.pasted_line(self.docker, stdin, end)
    }

    pub fn run(&mut self, command: &DockerCommand, end: &str) {
        let line = self.command(command, None, end);
        self.line(&line);
    }
}
