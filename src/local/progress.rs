//! What is going on, on the last line of a terminal: which jobs run, what each does, and for how long.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::termios::tcgetwinsize;

use super::results::time;
use super::screen::{Screen, sanitize};
use super::table::width as columns;
use crate::cancel::{Cancel, Reason};
use crate::executor::Activity;

/// How often the times on the line change.
const TICK: Duration = Duration::from_secs(1);

/// What jobs do at the moment, by their places.
#[derive(Default)]
pub(super) struct Progress {
    running: Mutex<BTreeMap<usize, Running>>,
    /// How many jobs start by themselves.
    total: usize,
    /// How many of them have ended.
    ended: AtomicUsize,
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

    /// Of so many jobs.
    pub fn of(total: usize) -> Self {
        Self {
            total,
            ..Self::default()
        }
    }

    /// A job has begun with something.
    pub fn doing(&self, place: usize, job: &str, activity: Activity) {
        let running = Running {
            job: sanitize(job),
            doing: words(activity),
            since: Instant::now(),
        };
        self.lock().insert(place, running);
    }

    /// A job has ended.
    pub fn ended(&self, place: usize) {
        self.lock().remove(&place);
        self.ended.fetch_add(1, Ordering::Relaxed);
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
        let running = self.lock();
        let parts = running.values().filter_map(|running| {
            let took = time(running.since.elapsed());
            let took = took.split('.').next().unwrap_or_default();
            let unit = if took.contains(' ') { "" } else { " s" };
            let doing = running.doing;
            if several {
                Some(format!("[{}: {doing}, {took}{unit}]", running.job))
            } else {
                (doing != SCRIPT).then(|| format!("[{doing}, {took}{unit}]"))
            }
        });
        let parts: Vec<String> = parts.collect();
        let done = (several && self.total > 1).then(|| {
            let ended = self.ended.load(Ordering::Relaxed);
            format!("{ended} of {} done", self.total)
        });
        let parts: Vec<String> = done.into_iter().chain(parts).collect();
        // The terminal must not break it into two, and its last column does so.
        fitting(&parts, width.saturating_sub(1))
    }
}

/// As many parts as fit on a line, and how many do not.
fn fitting(parts: &[String], width: usize) -> String {
    let more = |count| match count {
        0 => String::new(),
        count => format!("{GAP}and {count} more"),
    };
    let all = parts.len();
    let lines = (1..=all)
        .rev()
        .map(|count| parts[..count].join(GAP) + &more(all - count));
    let mut lines = lines.filter(|line| columns(line) <= width);
    // Where not even one fits, the terminal is no place for any.
    lines.next().unwrap_or_default()
}

/// What stands between two parts.
const GAP: &str = "  ";
const SCRIPT: &str = "script";

fn words(activity: Activity) -> &'static str {
    match activity {
        Activity::Prepare | Activity::Pull => "getting images",
        Activity::Service | Activity::WaitForServices => "starting services",
        Activity::Helper => "starting helper",
        Activity::CleanUp => "cleaning up",
        // What writes to the log as it goes.
        Activity::Stage(_) => SCRIPT,
    }
}

#[cfg(test)]
mod tests {
    use super::Progress;
    use crate::executor::Activity;
    use crate::plan::StageKind;

    const SCRIPT_STAGE: Activity = Activity::Stage(StageKind::Script);

    #[test]
    fn the_line_tells_what_jobs_do_and_fits() {
        let progress = Progress::default();
        assert_eq!(progress.line(true, 80), "");
        progress.doing(1, "lint", SCRIPT_STAGE);
        progress.doing(0, "unit\n", Activity::Pull);
        assert_eq!(
            progress.line(true, 80),
            "[unit\u{fffd}: getting images, 0 s]  [lint: script, 0 s]"
        );
        assert_eq!(
            progress.line(true, 49),
            "[unit\u{fffd}: getting images, 0 s]  and 1 more"
        );
        assert_eq!(progress.line(true, 11), "");
        assert_eq!(progress.line(false, 80), "[getting images, 0 s]");
        progress.ended(0);
        assert_eq!(progress.line(false, 80), "");
    }

    #[test]
    fn the_line_says_how_many_are_done() {
        let progress = Progress::of(30);
        for place in 0..12 {
            progress.doing(place, "unit", SCRIPT_STAGE);
            progress.ended(place);
        }
        progress.doing(12, "größe", SCRIPT_STAGE);
        assert_eq!(
            progress.line(true, 80),
            "12 of 30 done  [größe: script, 0 s]"
        );
        progress.doing(13, "日本", SCRIPT_STAGE);
        let both = "12 of 30 done  [größe: script, 0 s]  [日本: script, 0 s]";
        assert_eq!(progress.line(true, 57), both);
        assert_eq!(
            progress.line(true, 56),
            "12 of 30 done  [größe: script, 0 s]  and 1 more"
        );
        assert_eq!(progress.line(true, 35), "12 of 30 done  and 2 more");
        assert_eq!(progress.line(true, 20), "");
    }
}
