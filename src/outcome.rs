//! What became of a job, and the error that is the caller's own doing.

use std::any::Any;
use std::fmt;
use std::time::Duration;

use crate::keypath::KeyPath;

/// How a job ended, in the words of the coordinator's API. `Display` is the log's last line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every command of the script ended with status 0.
    Success,
    /// The script ended with another status.
    ScriptFailure {
        /// The status, 1 to 255.
        exit_code: i32,
        /// The kernel ended it for lack of memory.
        out_of_memory: bool,
    },
    /// The job asks for something that is not to be had, an image for example.
    BuildError(String),
    /// The runner, the engine or the network failed, not the job.
    SystemFailure(String),
    /// A signal or the coordinator stopped the job.
    Canceled,
    /// The job took longer than it may.
    TimedOut(Duration),
}

impl Outcome {
    /// The end of a job in which this program itself made a mistake: what a thread panicked with.
    #[must_use]
    pub fn of_panic(panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Self::SystemFailure(format!(
            "the runner has a bug, please report it: {}",
            text.unwrap_or("a thread panicked")
        ))
    }

    /// Whether the job did what it was to do.
    #[must_use]
    pub fn is_success(&self) -> bool {
        *self == Self::Success
    }

    /// The value of `CI_JOB_STATUS` in the `after_script`.
    #[must_use]
    pub fn job_status(&self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Canceled => "canceled",
            _ => "failed",
        }
    }
}

/// Why a job failed, in the words of the coordinator's API (`failure_reason`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureReason {
    /// The job's own doing.
    ScriptFailure,
    /// Not the job's doing.
    SystemFailure,
}

impl FailureReason {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::ScriptFailure => "script_failure",
            Self::SystemFailure => "runner_system_failure",
        }
    }
}

/// What the last line of a failed job begins with, up to the [kind of failure](Outcome::kind_of_failure).
pub const FAILED: &str = "ERROR: Build failed";
/// What follows where it was not the job that failed.
pub const SYSTEM: &str = " (system failure)";
/// The reason of a script's failure, up to its status.
pub const EXIT_CODE: &str = "exit code ";
/// What a reason begins with that is the job's own, though nothing of it ran.
pub const BUILD_ERROR: &str = "Error: ";
/// The reason of a job's end by its time limit, before and after the seconds that it had.
pub const TOOK_LONGER: [&str; 2] = ["execution took longer than ", " s"];

impl Outcome {
    /// What the coordinator is told of a job that failed.
    #[must_use]
    pub fn failure_reason(&self) -> Option<FailureReason> {
        match self {
            Self::Success => None,
            Self::SystemFailure(_) => Some(FailureReason::SystemFailure),
            Self::ScriptFailure { .. }
            | Self::BuildError(_)
            | Self::Canceled
            | Self::TimedOut(_) => Some(FailureReason::ScriptFailure),
        }
    }

    /// How metrics count a job that failed: as the coordinator does, with time limits apart. One that was canceled is no
    /// failure there.
    #[must_use]
    pub fn counted_reason(&self) -> Option<&'static str> {
        match self {
            Self::TimedOut(_) => Some("timeout"),
            Self::Canceled => None,
            outcome => outcome.failure_reason().map(FailureReason::word),
        }
    }

    /// What happened, by itself: `exit code 1`.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::Success => "Job succeeded".to_owned(),
            Self::ScriptFailure {
                exit_code,
                out_of_memory,
            } => {
                let memory = if *out_of_memory {
                    " (out of memory)"
                } else {
                    ""
                };
                format!("{EXIT_CODE}{exit_code}{memory}")
            }
            Self::BuildError(reason) => format!("{BUILD_ERROR}{reason}"),
            Self::SystemFailure(reason) => reason.clone(),
            Self::Canceled => "canceled".to_owned(),
            Self::TimedOut(limit) => {
                let [before, after] = TOOK_LONGER;
                format!("{before}{}{after}", limit.as_secs())
            }
        }
    }

    /// What failed, with the kind of failure where it was not the job's doing: `WHAT (system failure)`.
    #[must_use]
    pub fn kind_of_failure(&self, what: &str) -> String {
        match self.failure_reason() {
            Some(FailureReason::SystemFailure) => format!("{what}{SYSTEM}"),
            _ => what.to_owned(),
        }
    }

    /// That something failed in this way: `WHAT: exit code 1`, `WHAT (system failure): …`.
    #[must_use]
    pub fn failure_of(&self, what: &str) -> String {
        format!("{}: {}", self.kind_of_failure(what), self.reason())
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Success => f.write_str(&self.reason()),
            _ => f.write_str(&self.failure_of(FAILED)),
        }
    }
}

/// Something the user wrote is wrong: arguments, configuration or job file. Ends with status 2, where
/// every other error ends with 3.
#[derive(Debug)]
pub struct InputError {
    message: String,
    /// What of a file it is about, for those who know where in the file that stands.
    pub path: Option<KeyPath>,
}

impl InputError {
    /// An error with this message, on one line whatever it quotes, and without the middle where it quotes much.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: on_one_line(&message.into()),
            path: None,
        }
    }

    /// An error about a value of a file, with which its message begins.
    pub fn at(path: &KeyPath, message: impl fmt::Display) -> Self {
        Self {
            path: Some(path.clone()),
            ..Self::new(format!("{path}: {message}"))
        }
    }
}

/// How many characters of a message's begin and of its end are kept.
const BEGIN: usize = 1000;
const END: usize = 600;

/// A text with its middle left out where it is long, and [shown] on one line.
#[must_use]
pub fn on_one_line(text: &str) -> String {
    let whole = shown(text);
    let count = whole.chars().count();
    if count <= BEGIN + END {
        return whole;
    }
    let begin: String = whole.chars().take(BEGIN).collect();
    let end: String = whole.chars().skip(count - END).collect();
    format!("{begin} … {end}")
}

/// Whether a character would lead a terminal or a log astray: control characters but tabs, and those that turn the
/// direction of what follows.
#[must_use]
pub fn misleads(c: char) -> bool {
    (c.is_control() && c != '\t')
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A text with what would lead a terminal or a log astray written as an escape.
#[must_use]
pub fn shown(text: &str) -> String {
    let mut whole = String::new();
    for c in text.chars() {
        if misleads(c) {
            whole.extend(c.escape_debug());
        } else {
            whole.push(c);
        }
    }
    whole
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for InputError {}

#[cfg(test)]
mod tests {
    use super::{FailureReason, InputError, Outcome};
    use std::time::Duration;

    #[test]
    fn each_end_has_its_words_in_the_log_the_api_and_the_metrics() {
        let script = |exit_code, out_of_memory| Outcome::ScriptFailure {
            exit_code,
            out_of_memory,
        };
        for (outcome, log, api, metrics, status) in [
            (Outcome::Success, "Job succeeded", None, None, "success"),
            (
                script(7, false),
                "ERROR: Build failed: exit code 7",
                Some("script_failure"),
                Some("script_failure"),
                "failed",
            ),
            (
                script(137, true),
                "ERROR: Build failed: exit code 137 (out of memory)",
                Some("script_failure"),
                Some("script_failure"),
                "failed",
            ),
            (
                Outcome::BuildError("image x not found".into()),
                "ERROR: Build failed: Error: image x not found",
                Some("script_failure"),
                Some("script_failure"),
                "failed",
            ),
            (
                Outcome::SystemFailure("no engine".into()),
                "ERROR: Build failed (system failure): no engine",
                Some("runner_system_failure"),
                Some("runner_system_failure"),
                "failed",
            ),
            (
                Outcome::Canceled,
                "ERROR: Build failed: canceled",
                Some("script_failure"),
                None,
                "canceled",
            ),
            (
                Outcome::TimedOut(Duration::from_mins(2)),
                "ERROR: Build failed: execution took longer than 120 s",
                Some("script_failure"),
                Some("timeout"),
                "failed",
            ),
        ] {
            assert_eq!(outcome.to_string(), log);
            assert_eq!(
                outcome.failure_reason().map(FailureReason::word),
                api,
                "{log}"
            );
            assert_eq!(outcome.counted_reason(), metrics, "{log}");
            assert_eq!(outcome.job_status(), status, "{log}");
            assert!(log.ends_with(&outcome.reason()), "{log}");
        }
        let outcome = Outcome::SystemFailure("no engine".into());
        let said = outcome.failure_of("after_script failed");
        assert_eq!(said, "after_script failed (system failure): no engine");
    }

    #[test]
    fn an_error_is_one_line_whatever_it_quotes() {
        let error = InputError::new("`a\n\u{1b}[2J\u{202e}b` is wrong: it's \"grün\"");
        assert_eq!(
            error.to_string(),
            "`a\\n\\u{1b}[2J\\u{202e}b` is wrong: it's \"grün\""
        );
        let error = InputError::new(format!("`{}` is wrong; do this", "ä".repeat(100_000)));
        let error = error.to_string();
        assert!(error.starts_with("`ää") && error.ends_with("ä` is wrong; do this"));
        assert_eq!(error.chars().count(), 1603);
    }
}
