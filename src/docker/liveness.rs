//! Commands that run to their end unless the engine hangs.

use std::thread;
use std::time::Duration;

use super::client::Docker;
use super::command::DockerCommand;
use super::error::{DockerError, Kind};
use crate::cancel::{Cancel, Reason};

/// How often the engine is asked whether it lives.
const INTERVAL: Duration = Duration::from_secs(10);
/// How long an engine may take to say so.
const ANSWER: Duration = Duration::from_secs(5);

impl Docker {
    /// Runs a command to its end, however long that takes, for as long as the engine answers meanwhile. Only one that
    /// hangs is given up.
    ///
    /// # Errors
    /// As [`Docker::capture`], and [`Kind::NoEngine`] where the engine hangs.
    pub fn capture_patiently(&self, command: &DockerCommand) -> Result<String, DockerError> {
        let hung = Cancel::new();
        thread::scope(|scope| {
            scope.spawn(|| self.watch(&hung));
            let result = self.capture_with(command, None, &hung);
            hung.finish();
            result.map_err(|error| match error.kind {
                Kind::Canceled => DockerError {
                    kind: Kind::NoEngine,
                    message: format!(
                        "it said nothing for {} s to: {}",
                        (INTERVAL + ANSWER).as_secs(),
                        error.command
                    ),
                    ..error
                },
                _ => error,
            })
        })
    }

    /// Asks the engine now and then whether it lives, until `work` is over, and stops that where it does not.
    pub fn watch(&self, work: &Cancel) {
        while !work.is_over_within(INTERVAL) {
            if self.answers(&Cancel::new()).is_err() && !work.is_over_within(Duration::ZERO) {
                work.trigger(Reason::NoEngine);
            }
        }
    }

    /// Asks the engine whether it lives. It has five seconds.
    ///
    /// # Errors
    /// Why it does not answer.
    pub fn answers(&self, cancel: &Cancel) -> Result<(), DockerError> {
        let limit = cancel.child(Some(ANSWER));
        let version = DockerCommand::version("{{.Server.Version}}");
        self.capture_with(&version, None, &limit).map(drop)
    }
}
