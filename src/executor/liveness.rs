//! Whether the engine lives: asked before something is tried that would only wait for it, and while something waits.

use std::thread;
use std::time::{Duration, Instant};

use super::engine::Engine;
use crate::cancel::{Cancel, FinishOnDrop};
use crate::logging::carried;
use crate::outcome::Outcome;

/// How long an engine that went away may take to come back.
pub(super) const COMEBACK: Duration = Duration::from_mins(1);
/// How often it is looked for.
const LOOK: Duration = Duration::from_millis(250);

impl Engine<'_> {
    /// Waits for an engine that went away. Returns whether it is there. `cancel` ends the wait.
    pub fn comes_back(&self, cancel: &Cancel) -> bool {
        let end = Instant::now() + COMEBACK;
        loop {
            if self.docker.answers(cancel).is_ok() {
                return true;
            }
            if Instant::now() >= end || cancel.wait(LOOK).is_some() {
                return false;
            }
        }
    }

    /// Whether a stage is worth trying that follows a failure, or the end of the job's time: an engine that hangs or is
    /// gone would only cost its time.
    pub fn is_worth_trying_after(&self, outcome: &Outcome) -> bool {
        let failed = matches!(outcome, Outcome::SystemFailure(_) | Outcome::TimedOut(_));
        let doubtful = failed || self.cancel.reason().is_some();
        !doubtful || self.docker.answers(self.canceled).is_ok()
    }

    /// Does what may go on when the job's time is over: then only for as long as the engine answers. `limit` stops it.
    pub fn in_overtime<T>(&self, limit: &Cancel, work: impl FnOnce() -> T) -> T {
        let over = self.cancel.child(None);
        thread::scope(|scope| {
            scope.spawn(carried(|| {
                if over.wait_for_it().is_some() {
                    self.docker.watch(limit);
                }
            }));
            let _finished = FinishOnDrop([&over, limit]);
            work()
        })
    }
}
