//! Time limits in the printed script: that of the job up to its script's end, and those of its scripts.
//!
//! A limit ends what runs in the container, as the executor does it, and not the docker client, which would leave that
//! running. So `timeout` would not do, on whose options and status systems do not agree anyway: a shell of its own
//! sleeps while the client runs.

use std::fmt::Write as _;
use std::time::Duration;

use super::writer::{FAILURE, Script};
use crate::docker::{Slot, Word};
use crate::plan::lines::{self, Line};
use crate::plan::{Ending, GRACE};

/// The shell variable with the seconds that were allowed, where a limit was reached.
const ALLOWED: &str = "allowed";

/// What tells the timer that its time does not matter any more. No trap of the script itself is for this signal: a shell
/// that is new may lose one that its parent has a trap for.
const SIGNAL: &str = "USR1";
/// A command that sends it.
pub(super) const STOP_TIMER: &str = "[ -z \"${timer-}\" ] || kill -USR1 $timer 2>/dev/null || :";

impl Script<'_> {
    /// Whether anything in the script has a time limit.
    pub fn has_limits(&self) -> bool {
        let mut scripts = [&self.plan.script].into_iter().chain(&self.plan.releases);
        let own = scripts.any(|stage| stage.timeout.is_some()) || self.plan.after_script.is_some();
        let mut fetch = self.plan.fetch.iter();
        own || self.plan.timeout.is_some() || fetch.any(|stage| stage.timeout.is_some())
    }

    /// The functions for limits.
    pub fn limits(&mut self) {
        if !self.has_limits() {
            return;
        }
        self.line("# Ends what runs in the container $1 after $2 seconds, unless time_is_over is asked before.");
        self.line("begin_limit() {\ncontainer=$1 allowed=$2 left=$2");
        if let Some(limit) = self.plan.timeout {
            let seconds = seconds(limit);
            self.line("rest=$((deadline - $(date +%s)))");
            self.line("[ \"$rest\" -gt 0 ] || rest=0");
            let _ = writeln!(
                self.text,
                "if [ \"$rest\" -lt \"$left\" ]; then {ALLOWED}={seconds} left=$rest; fi"
            );
        }
        self.line("(\nset +e");
        self.pause("\"$left\"", 1);
        let _ = writeln!(self.text, "trap 'exit 0' {SIGNAL}");
        let ending = Ending::of(Slot::new("container"), self.plan.build.has_own_processes);
        self.run(&ending.terminate, "");
        if let Some(all) = &ending.terminate_all {
            self.run(all, "");
        }
        self.pause(&GRACE.as_secs().to_string(), 0);
        self.run(&ending.kill, "");
        self.line("exit 0\n) >/dev/null 2>&1 &\ntimer=$!\n}");
        let _ = writeln!(self.text, "time_is_over() {{\n{STOP_TIMER}");
        self.line(
            "if wait $timer 2>/dev/null; then over=0; else over=1; fi\ntimer=\nreturn $over\n}",
        );
        if let Some(limit) = self.plan.timeout {
            let _ = writeln!(self.text, "deadline=$(($(date +%s) + {}))", seconds(limit));
        }
    }

    /// Sleeps for so many seconds, or ends with a status at the signal: one that comes before the number of what sleeps is
    /// known is heeded when it is, so that nothing sleeps on.
    fn pause(&mut self, seconds: &str, status: u8) {
        let stop = format!("kill $pause; exit {status}");
        let _ = writeln!(
            self.text,
            "late=\ntrap late=1 {SIGNAL}\nsleep {seconds} & pause=$!\ntrap '{stop}' {SIGNAL}\n\
             [ -z \"$late\" ] || {{ {stop}; }}\nwait $pause"
        );
    }

    /// Begins the limit of what is to run in a container. Returns whether it has one.
    pub fn begin_limit(&mut self, container: &Word, own: Option<Duration>) -> bool {
        let limit = own.or(self.plan.timeout);
        if let Some(limit) = limit {
            let _ = writeln!(self.text, "begin_limit {container} {}", seconds(limit));
        }
        limit.is_some()
    }

    /// The reason of a failure by the limit that was reached.
    pub fn took_longer() -> Word {
        lines::took_longer(Slot::new(ALLOWED))
    }

    /// A command by which the job fails where its time is over.
    pub fn failing_by_limit() -> String {
        Self::failing(FAILURE, &Self::limit_reached())
    }

    fn limit_reached() -> Line {
        lines::job_failed(Self::took_longer())
    }
}

/// The seconds of a limit, as far as a shell can count and add them.
fn seconds(limit: Duration) -> u64 {
    limit.as_secs().clamp(1, 1 << 30)
}
