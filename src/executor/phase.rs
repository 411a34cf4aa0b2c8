//! How far a job is, which decides what it means that the engine went away.

use super::engine::Engine;
use super::stop::Stop;

/// A part of a job's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing of the job's own has run: all of it can be done again.
    Preparing,
    /// Its script was sent: what that did cannot be done again.
    Running,
}

impl Phase {
    /// Whether the job can begin again after this.
    pub fn begins_again_after(self, stop: &Stop, engine: &Engine) -> bool {
        let loss = matches!(stop, Stop::Docker(error) if error.is_loss());
        loss && self == Self::Preparing && engine.has_answered()
    }
}
