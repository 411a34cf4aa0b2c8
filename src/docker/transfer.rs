//! Images on their way from one engine to another, by this host and without a file.

use std::thread;

use super::captured::{self, Captured};
use super::client::{Docker, Group, READ};
use super::command::DockerCommand;
use super::error::{DockerError, Kind};
use crate::cancel::{Cancel, Reason};

impl Docker {
    /// Brings an image of this engine to another one, for as long as both answer: `docker save | docker load`. `cancel`
    /// ends both clients.
    ///
    /// # Errors
    /// [`DockerError`] if one of them could not be started or failed, and [`Kind::Canceled`].
    pub fn send_image(&self, image: &str, to: &Self, cancel: &Cancel) -> Result<(), DockerError> {
        let limit = cancel.child(None);
        thread::scope(|scope| {
            for docker in [self, to] {
                scope.spawn(|| docker.watch(&limit));
            }
            let sent = self.pipe_image(image, to, &limit);
            limit.finish();
            sent
        })
    }

    fn pipe_image(&self, image: &str, to: &Self, cancel: &Cancel) -> Result<(), DockerError> {
        let (save, load) = (DockerCommand::save(image), DockerCommand::load());
        let line = format!("{} | {}", self.line(&save), to.line(&load));
        self.announce_line(|| format!("{line}{READ}"));
        let (source, _) = self.process(&save, Group::OfItsOwn)?;
        let (target, _) = to.process(&load, Group::OfItsOwn)?;
        let pipe = source.stdin_null().pipe(target).unchecked();
        let captured =
            captured::run(&pipe, cancel).map_err(|error| self.not_started(&save, &error))?;
        let failed = |kind, message: &str| DockerError {
            kind,
            command: line.clone(),
            message: message.to_owned(),
            printed: String::new(),
        };
        match captured {
            _ if cancel.reason() == Some(Reason::NoEngine) => {
                Err(failed(Kind::NoEngine, "one of the engines does not answer"))
            }
            _ if cancel.reason().is_some() => Err(failed(Kind::Canceled, "canceled")),
            None => Err(failed(Kind::Other, "docker load printed no end of lines")),
            Some(Captured { status, .. }) if status.success() => Ok(()),
            Some(Captured { status, stderr, .. }) => {
                Err(DockerError::from_stderr(line, status.code(), &stderr))
            }
        }
    }
}
