//! How a job ended, in the words of its log and of the coordinator's API; the error for wrong input; and how text of
//! others is made safe to show.

mod fault;

use std::any::Any;
use std::fmt;
use std::time::Duration;

use crate::keypath::KeyPath;
pub use fault::{Cause, Fault};

/// How a job ended. `Display` is the last line of its log.
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
    /// The job asks for something that it cannot have, such as an image that does not exist: the reason.
    BuildError(Fault),
    /// The runner, the engine or the network failed, not the job: the reason.
    SystemFailure(Fault),
    /// The coordinator stopped the job, or the user did with a signal. When a signal ends a runner that serves a
    /// coordinator, its jobs end as [`Outcome::SystemFailure`].
    Canceled,
    /// The job took longer than this time limit.
    TimedOut(Duration),
}

impl Outcome {
    /// The end of a job whose thread panicked, from what the panic carries: a bug of this program.
    #[must_use]
    pub fn of_panic(panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        let text = format!(
            "the runner has a bug, please report it: {}",
            text.unwrap_or("a thread panicked")
        );
        Self::SystemFailure(Fault::new(Cause::Bug, text))
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

/// Why a job failed, as the coordinator's API has it (`failure_reason`). GitLab may run a job that failed for a reason
/// of the system again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureReason {
    /// The job failed by itself, or was ended by its time limit or canceled.
    ScriptFailure,
    /// Something else than the job failed.
    SystemFailure,
}

impl FailureReason {
    /// The API's word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::ScriptFailure => "script_failure",
            Self::SystemFailure => "runner_system_failure",
        }
    }
}

// The parts of a failed job's last line. They are constants because printed plans put the same line together in a
// shell: see `plan::lines`.

/// What the last line of a failed job begins with. [`SYSTEM`] may follow, and then a colon and the reason.
pub const FAILED: &str = "ERROR: Build failed";
/// What follows [`FAILED`] if it was not the job that failed.
pub const SYSTEM: &str = " (system failure)";
/// The reason for the failure of a script; its status follows.
pub const EXIT_CODE: &str = "exit code ";
/// The beginning of the reason for an [`Outcome::BuildError`].
pub const BUILD_ERROR: &str = "Error: ";
/// The reason for an [`Outcome::TimedOut`]: before and after the seconds of the limit.
pub const TOOK_LONGER: [&str; 2] = ["execution took longer than ", " s"];

impl Outcome {
    /// What the coordinator is told as the reason of a failure; `None` after a success. The API has no word for a job
    /// that was canceled: the coordinator knows it already.
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

    /// The reason by which metrics count a failed job: that of the API, or `timeout`. A job that succeeded or was
    /// canceled is not counted as failed.
    #[must_use]
    pub fn counted_reason(&self) -> Option<&'static str> {
        match self {
            Self::TimedOut(_) => Some("timeout"),
            Self::Canceled => None,
            outcome => outcome.failure_reason().map(FailureReason::word),
        }
    }

    /// Why the job ended so, without the words around it in the log: `exit code 1`.
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
            Self::SystemFailure(reason) => reason.text.clone(),
            Self::Canceled => "canceled".to_owned(),
            Self::TimedOut(limit) => {
                let [before, after] = TOOK_LONGER;
                format!("{before}{}{after}", limit.as_secs())
            }
        }
    }

    /// `what`, which says that something failed, followed by ` (system failure)` if the job was not at fault.
    #[must_use]
    pub fn kind_of_failure(&self, what: &str) -> String {
        match self.failure_reason() {
            Some(FailureReason::SystemFailure) => format!("{what}{SYSTEM}"),
            _ => what.to_owned(),
        }
    }

    /// `what`, which says that something failed, with the kind and the reason: `after_script failed: exit code 1`,
    /// `after_script failed (system failure): …`.
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

/// Something that the user wrote is wrong: arguments, configuration or job file. The command ends with status 2; other
/// errors end it with 3.
#[derive(Debug)]
pub struct InputError {
    message: String,
    /// The value of a job file that it is about. The file's `Document` can add line and column of it.
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

    /// An error about a value of a job file. The message begins with the path to the value.
    pub fn at(path: &KeyPath, message: impl fmt::Display) -> Self {
        Self {
            path: Some(path.clone()),
            ..Self::new(format!("{path}: {message}"))
        }
    }
}

/// How many characters of a long message's start and of its end are kept. The start says what it is about, the end
/// often says what to do.
const BEGIN: usize = 1000;
const END: usize = 600;

/// A text as [`shown`], and so on one line; if it is long, ` … ` takes the place of its middle.
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

/// Whether a character could make a terminal or a log show something else than is there: control characters other than
/// tabs, Unicode's separators of lines and paragraphs, and characters that turn the direction of writing.
#[must_use]
pub fn misleads(c: char) -> bool {
    (c.is_control() && c != '\t')
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A text with its [misleading](misleads) characters, line breaks among them, written as escapes: `\n`, `\u{202e}`.
#[must_use]
pub fn shown(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        if misleads(c) {
            escaped.extend(c.escape_debug());
        } else {
            escaped.push(c);
        }
    }
    escaped
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
