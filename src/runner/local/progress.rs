//! What is going on, on the last line of a terminal: which jobs run, what each does, and for how long.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::termios::tcgetwinsize;

use super::results::time;
use super::screen::{Screen, tame};
use crate::cancel::{Cancel, Reason};

/// How often the times on the line change.
const TICK: Duration = Duration::from_secs(1);

/// What jobs do at the moment, by their places.
#[derive(Default)]
pub(super) struct Progress {
    running: Mutex<BTreeMap<usize, Running>>,
    /// Triggered when there is nothing more to show.
    over: Cancel,
}

struct Running {
    job: String,
    doing: &'static str,
    since: Instant,
}

impl Progress {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<usize, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A job has begun with something, called as in [`crate::executor::Span`].
    pub fn doing(&self, place: usize, job: &str, span: &str) {
        let running = Running {
            job: tame(job),
            doing: words(span),
            since: Instant::now(),
        };
        self.lock().insert(place, running);
    }

    /// A job has ended.
    pub fn ended(&self, place: usize) {
        self.lock().remove(&place);
    }

    /// Nothing follows.
    pub fn finish(&self) {
        self.over.trigger(Reason::Canceled);
    }

    /// Keeps the line up to date until everything is over. Where one job writes its log as it comes, there is a
    /// line only while it does not.
    pub fn show(&self, screen: &Screen, several: bool) {
        while self.over.wait(TICK).is_none() {
            let width = tcgetwinsize(io::stdout()).map_or(80, |size| size.ws_col);
            screen.set_status(&self.line(several, usize::from(width)));
        }
        screen.set_status("");
    }

    fn line(&self, several: bool, width: usize) -> String {
        let mut line = String::new();
        for running in self.lock().values() {
            let took = time(running.since.elapsed());
            let took = took.split('.').next().unwrap_or_default();
            let unit = if took.contains(' ') { "" } else { " s" };
            let doing = running.doing;
            let gap = if line.is_empty() { "" } else { "  " };
            let _ = if several {
                write!(line, "{gap}[{}: {doing}, {took}{unit}]", running.job)
            } else if doing == SCRIPT {
                Ok(())
            } else {
                write!(line, "{gap}[{doing}, {took}{unit}]")
            };
        }
        // The terminal must not break it into two.
        line.chars().take(width.saturating_sub(1) / 2 * 2).collect()
    }
}

const SCRIPT: &str = "script";

fn words(span: &str) -> &'static str {
    match span {
        "prepare" | "pull" => "getting images",
        "service" | "wait_for_services" => "starting services",
        "helper" => "starting helper",
        "cleanup" => "cleaning up",
        // What writes to the log as it goes.
        _ => SCRIPT,
    }
}

#[cfg(test)]
mod tests {
    use super::Progress;

    #[test]
    fn the_line_tells_what_jobs_do_and_fits() {
        let progress = Progress::default();
        progress.doing(1, "lint", "build");
        progress.doing(0, "unit\n", "pull");
        assert_eq!(
            progress.line(true, 80),
            "[unit\u{fffd}: getting images, 0 s]  [lint: script, 0 s]"
        );
        assert_eq!(progress.line(true, 11).chars().count(), 10);
        assert_eq!(progress.line(false, 80), "[getting images, 0 s]");
        progress.ended(0);
        assert_eq!(progress.line(false, 80), "");
    }
}
