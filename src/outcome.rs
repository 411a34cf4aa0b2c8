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
    /// Somebody told the runner to stop the job.
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

impl Outcome {
    /// Why the job failed, without what every such line begins with.
    #[must_use]
    pub fn reason(&self) -> String {
        let text = self.to_string();
        let text = text.strip_prefix("ERROR: Build failed").unwrap_or(&text);
        let text = text.strip_prefix(" (system failure)").unwrap_or(text);
        text.trim_start_matches(": ").to_owned()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Success => f.write_str("Job succeeded"),
            Self::ScriptFailure {
                exit_code,
                out_of_memory,
            } => {
                write!(f, "ERROR: Build failed: exit code {exit_code}")?;
                if *out_of_memory {
                    f.write_str(" (out of memory)")
                } else {
                    Ok(())
                }
            }
            Self::BuildError(reason) => write!(f, "ERROR: Build failed: Error: {reason}"),
            Self::SystemFailure(reason) => {
                write!(f, "ERROR: Build failed (system failure): {reason}")
            }
            Self::Canceled => f.write_str("ERROR: Build failed: canceled"),
            Self::TimedOut(limit) => {
                write!(
                    f,
                    "ERROR: Build failed: execution took longer than {} s",
                    limit.as_secs()
                )
            }
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
    use super::InputError;

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
