//! What all parts of a run share.

use std::fs::File;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use super::cleanup::Made;
use super::engine::Engine;
use super::sections::Sections;
use super::spans::Spans;
use super::stop::Stop;
use crate::cancel::{Cancel, CancelScope, HookGuard, Reason};
use crate::docker::Docker;
use crate::plan::Plan;
use crate::plan::lines::Line;
use crate::trace::Trace;

/// Where one process at a time builds an image. `None`: the job is to end first.
pub type BuildLock<'a> = &'a (dyn Fn(&Cancel) -> anyhow::Result<Option<File>> + Sync);

/// Lends the terminal to what it is given, which then runs on it alone.
pub type Terminal<'a> = &'a (dyn Fn(&mut dyn FnMut()) + Sync);

/// A run that is under way.
pub(super) struct Context<'a> {
    /// What is to be done.
    pub plan: &'a Plan,
    /// What it is done on.
    pub engine: Engine<'a>,
    /// Where the log goes.
    pub trace: &'a Trace,
    /// Which part of the log is written.
    pub sections: Sections<'a>,
    /// As [`Executor::canceling`](super::Executor::canceling).
    pub canceling: &'a Cancel,
    /// What the job's time went into.
    pub spans: Spans<'a>,
    /// What is to be removed.
    pub made: Made,
    /// Held while the helper image is built.
    pub build_lock: BuildLock<'a>,
    /// Other engines, which may have the helper image.
    pub others: &'a (dyn Fn() -> Vec<Docker> + Sync),
    /// The terminal of a person who wants a shell where the script fails.
    pub terminal: Option<Terminal<'a>>,
    /// Ends the job if images, services and helper take too long to be there; dropped when they are.
    pub preparing: Mutex<Option<CancelScope>>,
    /// Held while something is [made again](super::repair).
    pub repairing: Mutex<()>,
    /// Triggered when the last stage has ended: logs of services are followed until then.
    pub over: Cancel,
}

impl Context<'_> {
    /// Images, services and helper are there: `prepare_timeout` ends nothing any more. Returns whether it has ended the
    /// job.
    pub fn end_preparing(&self) -> bool {
        let preparing = self.preparing.lock();
        let limit = preparing.unwrap_or_else(PoisonError::into_inner).take();
        limit.is_some_and(|it| it.reason() == self.plan.prepare_timeout.map(Reason::TimedOut))
    }

    /// Writes a line that printed scripts have too.
    pub fn say(&self, line: &Line) -> io::Result<()> {
        let text = line.text.plain();
        if line.is_warning {
            self.trace.warning(&text)
        } else {
            self.trace.line(&text)
        }
    }

    /// From now on, until what is returned is dropped, the job stops where it is being canceled.
    pub fn stop_when_canceling(&self) -> HookGuard {
        let cancel = self.engine.cancel.clone();
        self.canceling
            .on_trigger(move || cancel.trigger(Reason::Canceled))
    }

    /// Why the job is stopped from outside, if it is.
    pub fn canceled(&self) -> Option<Reason> {
        let stopped = self.engine.canceled.reason();
        stopped.or_else(|| self.canceling.reason())
    }

    /// Says why something is tried again after a pause, and waits for that.
    pub fn pause(&self, stop: &Stop, pause: Duration) -> Result<(), Stop> {
        if let Stop::Docker(error) = stop {
            let (reason, seconds) = (error.reason(), pause.as_secs());
            let warning = format!("{reason}; trying again in {seconds} s");
            self.trace.warning(&warning)?;
        }
        let stopped = self.engine.cancel.wait(pause);
        stopped.map_or(Ok(()), |reason| Err(reason.into()))
    }
}

/// How often something is done again because what it needs was removed meanwhile.
pub(super) const RESTORATIONS: u32 = 50;

/// The result of a thread; a panic goes on in this one.
pub(super) fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
