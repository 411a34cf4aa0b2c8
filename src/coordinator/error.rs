//! What became of a request that did not go well.

use std::fmt;
use std::time::Duration;

/// A request that failed. Neither it nor its `Display` holds anything of what was sent.
#[derive(Clone, Debug)]
pub struct ApiError {
    /// What was tried, `POST https://host/api/v4/jobs/request`.
    pub tried: String,
    /// What came back.
    pub answer: Answer,
    /// What the request was known by (`X-Request-Id`), for the coordinator's own log; empty where none was sent.
    pub request: String,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing, or half of an answer: refused connection, time-out, reset, TLS.
    None(String),
    /// It could not be sent, and never can: it holds what no request may.
    Unsendable(String),
    /// 429 or 503 with the pause that it asks for.
    Busy(u16, Option<Duration>),
    /// 401 or 403: the token is not known.
    Refused(u16),
    /// 404: what was asked for is not there.
    Gone,
    /// 413: what was sent is too much.
    TooLarge,
    /// 416: so many bytes of the log are there.
    Rewind(usize),
    /// 202 to a job's end: it is not taken yet, and to be told again after this pause.
    NotYet(Option<Duration>),
    /// 412 to a job's end: what is there of the log is another one.
    OtherLog,
    /// Another status.
    Status(u16, Option<String>),
}

impl ApiError {
    /// Whether trying again may help.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self.answer {
            Answer::None(_) | Answer::Busy(..) | Answer::NotYet(_) => true,
            Answer::Status(status, _) => status >= 500 || status == 408,
            _ => false,
        }
    }

    /// The pause that the coordinator asks for.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self.answer {
            Answer::Busy(_, pause) | Answer::NotYet(pause) => pause,
            _ => None,
        }
    }

    /// Whether the token is not (or no longer) good.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(self.answer, Answer::Refused(_))
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.tried)?;
        match &self.answer {
            Answer::None(what) | Answer::Unsendable(what) => f.write_str(what),
            Answer::Busy(status, Some(pause)) => {
                write!(f, "status {status}, come back in {} s", pause.as_secs())
            }
            Answer::Busy(status, None) => write!(f, "status {status}, too many requests"),
            Answer::Refused(status) => write!(f, "status {status}, the token is refused"),
            Answer::Gone => f.write_str("status 404, there is nothing of this kind"),
            Answer::TooLarge => f.write_str("status 413, too large"),
            Answer::Rewind(bytes) => write!(f, "status 416, {bytes} bytes are there"),
            Answer::NotYet(_) => f.write_str("status 202, the log is still being stored there"),
            Answer::OtherLog => f.write_str("status 412, another log is there"),
            Answer::Status(status, Some(place)) => {
                write!(f, "status {status}: it is at {place}; correct the url")
            }
            Answer::Status(status, None) => write!(f, "status {status}"),
        }?;
        if self.request.is_empty() {
            return Ok(());
        }
        write!(f, " (request {})", self.request)
    }
}

impl std::error::Error for ApiError {}
