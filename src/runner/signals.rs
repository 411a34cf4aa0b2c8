//! Signals that end the runner: the first one stops the job, which cleans up; the second ends at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::cancel::{Cancel, Reason};

/// The signal that ended the work, if one did.
#[derive(Clone, Default)]
pub struct Ended(Arc<AtomicI32>);

impl Ended {
    /// The exit status of a process that this signal ended: 130 for SIGINT, 143 for SIGTERM.
    #[must_use]
    pub fn status(&self) -> Option<u8> {
        u8::try_from(self.0.load(Ordering::SeqCst))
            .ok()
            .filter(|signal| *signal > 0)
            .map(|signal| 128 + signal)
    }
}

/// Lets SIGINT, SIGTERM and a lost terminal trigger `cancel`.
///
/// # Errors
/// If the handlers cannot be installed.
pub fn stop_on_signals(cancel: Cancel) -> io::Result<Ended> {
    let ended = Ended::default();
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let seen = ended.clone();
    thread::spawn(move || {
        for signal in signals.forever() {
            if seen.0.swap(signal, Ordering::SeqCst) != 0 {
                std::process::exit(128 + signal);
            }
            eprintln!(
                "stopping and cleaning up (again: stop at once, which leaves that to `alloy-runner prune`)"
            );
            cancel.trigger(Reason::Canceled);
        }
    });
    Ok(ended)
}
