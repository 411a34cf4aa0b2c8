//! A docker client on the runner's own terminal, on which the user types.

use std::io;
use std::sync::Arc;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

use super::client::{Docker, Group};
use super::command::DockerCommand;
use super::error::{DockerError, Kind};
use super::stream::Status;
use crate::cancel::Cancel;

impl Docker {
    /// Runs a command with the runner's own stdin, stdout and stderr until it ends or `cancel` ends it. Keys
    /// are for the client.
    ///
    /// # Errors
    /// [`DockerError`] if it could not be started, or with [`Kind::Canceled`].
    pub fn interactive(
        &self,
        command: &DockerCommand,
        cancel: &Cancel,
    ) -> Result<Status, DockerError> {
        self.announce(command, None, "");
        // It has to be in the terminal's foreground, which the runner's own group is.
        let (process, _env_file) = self.process(command, Group::OfTheRunner)?;
        let _settings = Settings::keep();
        let handle = process
            .start()
            .map_err(|error| self.not_started(command, &error))?;
        let handle = Arc::new(handle);
        let killed = handle.clone();
        // Failing to kill what has ended by itself is no failure.
        let _guard = cancel.on_trigger(move || drop(killed.kill()));
        let ended = handle.wait();
        if cancel.reason().is_some() {
            return Err(self.failed(command, Kind::Canceled, "canceled".to_owned()));
        }
        let output = ended.map_err(|error| self.failed(command, Kind::Other, error.to_string()))?;
        Ok(Status(output.status.code()))
    }
}

/// How the terminal was; it is so again when this is dropped. A client that is killed does not see to that.
struct Settings(Option<Termios>);

impl Settings {
    fn keep() -> Self {
        Self(tcgetattr(io::stdin()).ok())
    }
}

impl Drop for Settings {
    fn drop(&mut self) {
        if let Some(settings) = &self.0
            && let Err(error) = tcsetattr(io::stdin(), OptionalActions::Drain, settings)
        {
            log::warn!("cannot set the terminal as it was ({error}); `stty sane` does");
        }
    }
}
