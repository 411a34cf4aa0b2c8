//! Keeps a coordinator informed about a job: its log while it runs, and how it ended.

use std::time::{Duration, Instant};

use super::job_log::JobLog;
use crate::cancel::{Cancel, Reason};
use crate::coordinator::error::Answer;
use crate::coordinator::{ApiError, Client, FinalUpdate};
use crate::outcome::Outcome;
use crate::retry::{Backoff, Tries};
use crate::secret::Secret;

/// The longest pause between two patches.
const INTERVAL: Duration = Duration::from_secs(3);
/// A line that stays unfinished for so long is sent in parts.
const UNFINISHED: Duration = Duration::from_secs(9);
/// The largest patch, in bytes.
const MAX_PATCH: usize = 1024 * 1024;
/// The longest pause after a failure: while the job runs, so that the view of it stays live.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// How often the end of a job is told to a coordinator that does not listen: for some ten minutes.
const MAX_TRIES: u32 = 24;

/// A job of a coordinator, and its log.
pub struct Upload<'a> {
    /// The coordinator.
    pub client: &'a Client,
    /// Its number of the job.
    pub id: u64,
    /// What it knows the job by.
    pub token: &'a Secret,
    /// The log.
    pub log: &'a JobLog,
    /// Triggered when the coordinator wants the job stopped, or does not know it any more.
    pub cancel: &'a Cancel,
    /// Triggered when this process ends and cannot wait for a coordinator in trouble.
    pub hurry: &'a Cancel,
}

/// Whether the coordinator knows how the job ended.
#[derive(Debug)]
pub enum Delivered {
    /// It does.
    Yes,
    /// It does not know the job any more.
    Gone,
    /// It could not be told.
    No(ApiError),
}

/// What a patch led to.
enum Sent {
    /// The next one begins here.
    At(usize),
    Failed(ApiError),
    Gone,
}

impl Upload<'_> {
    /// Sends the log as it grows, and when it is closed the rest of it and the job's outcome.
    #[must_use]
    pub fn run(&self) -> Delivered {
        let Ok(sent) = self.while_it_grows() else {
            // The job stops and cleans up by itself; the coordinator wants to hear nothing of it.
            while !self.log.wait_for_end(Duration::from_hours(1)) {}
            return Delivered::Gone;
        };
        let outcome = self.log.outcome().unwrap_or(Outcome::Canceled);
        self.at_the_end(sent, &outcome)
    }

    /// Sends a log that is whole, and the job's outcome, where it is not known what was sent before.
    #[must_use]
    pub fn at_once(&self, outcome: &Outcome) -> Delivered {
        self.at_the_end(0, outcome)
    }

    /// Returns how much is sent, or that the job is gone.
    fn while_it_grows(&self) -> Result<usize, ()> {
        let mut sent = 0;
        let mut backoff = Backoff::new(MAX_PAUSE);
        let mut next = Instant::now() + INTERVAL;
        let mut unfinished_since: Option<Instant> = None;
        loop {
            self.log.wait(sent, MAX_PATCH, next);
            if self.log.outcome().is_some() {
                return Ok(sent);
            }
            let torn = unfinished_since.is_some_and(|since| since.elapsed() >= UNFINISHED);
            let part = self.log.part(sent, MAX_PATCH, torn);
            unfinished_since = match (part.unfinished, part.bytes.is_empty()) {
                (true, true) => unfinished_since.or_else(|| Some(Instant::now())),
                (true, false) => Some(Instant::now()),
                (false, _) => None,
            };
            match self.patch(sent, &part.bytes) {
                Sent::At(at) => {
                    sent = at;
                    backoff.reset();
                    next = Instant::now() + INTERVAL;
                }
                Sent::Gone => return Err(()),
                Sent::Failed(error) => {
                    if backoff.is_fresh() {
                        log::warn!("the log waits: {error}");
                    }
                    if self.log.wait_for_end(backoff.pause(error.retry_after())) {
                        return Ok(sent);
                    }
                    next = Instant::now();
                }
            }
        }
    }

    fn patch(&self, from: usize, part: &[u8]) -> Sent {
        let error = match self.client.patch(self.id, self.token, from, part) {
            Ok(patched) => {
                if let Some(word) = patched.stop {
                    if self.cancel.reason().is_none() {
                        log::info!("the coordinator says that the job is {word}");
                    }
                    self.cancel.trigger(Reason::Canceled);
                }
                return Sent::At(from + part.len());
            }
            Err(error) => error,
        };
        match error.answer {
            Answer::Rewind(there) if there != from => Sent::At(there.min(self.log.size())),
            Answer::Refused(_) | Answer::Gone => {
                log::warn!("the coordinator does not know the job any more: {error}");
                self.cancel.trigger(Reason::Canceled);
                Sent::Gone
            }
            _ => Sent::Failed(error),
        }
    }

    /// The rest of the log, which GitLab takes by patches only, and the job's end with all of it.
    fn at_the_end(&self, sent: usize, outcome: &Outcome) -> Delivered {
        let mut sent = sent;
        let mut tries = Tries::new(MAX_TRIES, MAX_PAUSE, self.hurry);
        while sent < self.log.size() {
            let part = self.log.part(sent, MAX_PATCH, true);
            match self.patch(sent, &part.bytes) {
                // A coordinator that asks for the same part again and again has a problem too.
                Sent::At(at) if at <= sent => {
                    sent = at;
                    if !tries.again(None) {
                        break;
                    }
                }
                Sent::At(at) => sent = at,
                Sent::Gone => return Delivered::Gone,
                Sent::Failed(error) if error.is_temporary() => {
                    if !tries.again(error.retry_after()) {
                        break;
                    }
                }
                Sent::Failed(error) => {
                    log::warn!("the rest of the log goes with the job's end only: {error}");
                    break;
                }
            }
        }
        let mut tries = Tries::new(MAX_TRIES, MAX_PAUSE, self.hurry);
        loop {
            let error = match self.log.with_text(|log| self.finish(outcome, log)) {
                Ok(()) => return Delivered::Yes,
                Err(error) => error,
            };
            match error.answer {
                Answer::Refused(_) | Answer::Gone => {
                    log::warn!("the coordinator does not know the job any more: {error}");
                    return Delivered::Gone;
                }
                _ if error.is_temporary() && tries.again(error.retry_after()) => {
                    log::warn!("the job's end is not told yet: {error}");
                }
                _ => return Delivered::No(error),
            }
        }
    }

    fn finish(&self, outcome: &Outcome, log: &str) -> Result<(), ApiError> {
        let update = FinalUpdate {
            failure: outcome.failure_reason(),
            log,
        };
        self.client.finish(self.id, self.token, update)
    }
}
