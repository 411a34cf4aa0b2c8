//! Signals: the first one ends the work in an orderly way, a second one ends at once.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::cancel::{Cancel, Reason};

/// The message when the first signal comes.
const STOPPING: &str =
    "stopping and cleaning up (again: stop at once, which leaves that to `alloy-runner prune`)";

/// The signal that ended the work, if one did.
#[derive(Clone, Default)]
pub struct StoppedBy(Arc<AtomicI32>);

impl StoppedBy {
    /// The exit status of a process that this signal ended: 130 for SIGINT, 143 for SIGTERM.
    #[must_use]
    pub fn status(&self) -> Option<u8> {
        status(self.0.load(Ordering::SeqCst))
    }
}

fn status(signal: i32) -> Option<u8> {
    u8::try_from(signal)
        .ok()
        .filter(|signal| *signal > 0)
        .map(|signal| 128 + signal)
}

/// Lets SIGINT, SIGTERM and a lost terminal trigger `cancel`.
///
/// # Errors
/// If the handlers cannot be installed.
pub fn stop_on_signals(cancel: Cancel) -> io::Result<StoppedBy> {
    let ended = StoppedBy::default();
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let seen = ended.clone();
    thread::spawn(move || {
        for signal in signals.forever() {
            if seen.0.swap(signal, Ordering::SeqCst) != 0 {
                std::process::exit(128 + signal);
            }
            // The reader of stderr may have gone.
            let _ = writeln!(io::stderr(), "{STOPPING}");
            cancel.trigger(Reason::Canceled);
        }
    });
    Ok(ended)
}

/// What a signal asks of a runner that serves (manual, "serving").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGQUIT: take no new jobs and end with the running ones.
    Drain,
    /// SIGTERM or SIGINT: stop the jobs, clean up and end with this status.
    Abort(u8),
}

/// Hands signals to `tell` for as long as it wants them. A second SIGTERM or SIGINT ends the process.
///
/// # Errors
/// If the handlers cannot be installed.
pub fn tell_of_signals(tell: impl Fn(Signal) -> bool + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGQUIT, SIGHUP])?;
    thread::spawn(move || {
        let mut aborting = false;
        for signal in signals.forever() {
            let event = match signal {
                SIGHUP => Signal::Reload,
                SIGQUIT => Signal::Drain,
                _ if aborting => std::process::exit(128 + signal),
                _ => {
                    aborting = true;
                    log::info!("{STOPPING}");
                    Signal::Abort(status(signal).unwrap_or_default())
                }
            };
            if !tell(event) {
                return;
            }
        }
    });
    Ok(())
}
