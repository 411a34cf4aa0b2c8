//! Keeps a coordinator informed about a job: its log while it runs, and how it ended.

use std::time::{Duration, Instant};

use super::job_log::JobLog;
use crate::cancel::{Cancel, Reason};
use crate::coordinator::error::Answer;
use crate::coordinator::{ApiError, Client, End, Wish};
use crate::job::files::Kind;
use crate::job::payload::JobKey;
use crate::outcome::Outcome;
use crate::retry::{Backoff, Tries};

/// The longest pause between two patches, unless the coordinator asks for another one.
const INTERVAL: Duration = Duration::from_secs(3);
/// No longer pause is made, whatever it asks for: in the answer to a patch the runner hears that a job is canceled.
const MAX_INTERVAL: Duration = Duration::from_secs(30);
/// A line that stays unfinished for so long is sent in parts.
const UNFINISHED: Duration = Duration::from_secs(9);
/// The largest patch, in bytes.
const MAX_PATCH: usize = 1024 * 1024;
/// The longest pause after a failure: while the job runs, so that the view of it stays live.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// How often GitLab is told that a job begins: it takes the job back after two minutes.
const BEGIN_TRIES: u32 = 8;
/// How often the end of a job is told to a coordinator that does not listen: for some ten minutes.
const MAX_TRIES: u32 = 24;

/// A job of a coordinator, and its log.
pub struct Upload<'a> {
    /// The coordinator.
    pub client: &'a Client,
    /// What it knows the job by.
    pub job: &'a JobKey,
    /// The log.
    pub log: &'a JobLog,
    /// The log may show what a debugging shell does.
    pub debug: bool,
    /// Triggered when the coordinator wants the script ended, and the `after_script` to run.
    pub canceling: &'a Cancel,
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
    /// The next one begins here, after this pause if the coordinator asks for one.
    At(usize, Option<Duration>),
    Failed(ApiError),
    Gone,
}

impl Upload<'_> {
    /// Tells GitLab that the job begins: until then it may give it to another runner.
    ///
    /// # Errors
    /// [`ApiError`]. The job must not run, and where it is not temporary, nothing is to be heard of it either.
    pub fn begin(&self) -> Result<(), ApiError> {
        if self.job.kind == Kind::AlloyCi {
            return Ok(());
        }
        let mut tries = Tries::new(BEGIN_TRIES, MAX_PAUSE, self.hurry);
        loop {
            match self.client.begin(self.job) {
                Err(error) if error.is_temporary() && tries.again(error.retry_after()) => {
                    log::warn!("the job has to wait: {error}");
                }
                result => return result,
            }
        }
    }

    /// Sends the log as it grows, and when it is closed the rest of it and the job's outcome.
    #[must_use]
    pub fn run(&self) -> Delivered {
        let Ok(sent) = self.while_it_grows() else {
            // The job stops and cleans up by itself; the coordinator wants to hear nothing of it.
            while !self.log.wait_for_end(Duration::from_hours(1)) {}
            return Delivered::Gone;
        };
        let outcome = self.log.outcome().unwrap_or(Outcome::Canceled);
        self.at_the_end(sent, &End::of(&outcome, self.job))
    }

    /// Sends a log that is whole, and the job's end, where it is not known what was sent before.
    #[must_use]
    pub fn at_once(&self, end: &End) -> Delivered {
        self.at_the_end(0, end)
    }

    /// Returns how much is sent, or that the job is gone.
    fn while_it_grows(&self) -> Result<usize, ()> {
        let mut sent = 0;
        let mut interval = INTERVAL;
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
                Sent::At(at, asked) => {
                    sent = at;
                    backoff.reset();
                    interval = asked.map_or(interval, bounded);
                    next = Instant::now() + interval;
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
        let error = match self.client.patch(self.job, from, part, self.debug) {
            Ok(patched) => {
                match patched.wish {
                    Wish::GoOn => {}
                    Wish::EndScript => stop(self.canceling, "canceling"),
                    Wish::Stop(word) => stop(self.cancel, &word),
                }
                return Sent::At(from + part.len(), patched.interval);
            }
            Err(error) => error,
        };
        match error.answer {
            Answer::Rewind(there) if there != from => Sent::At(there.min(self.log.size()), None),
            Answer::Refused(_) | Answer::Gone => {
                log::warn!("the coordinator does not know the job any more: {error}");
                self.cancel.trigger(Reason::Canceled);
                Sent::Gone
            }
            _ => Sent::Failed(error),
        }
    }

    /// The rest of the log, which GitLab takes by patches only, and the job's end: for `AlloyCI` with all of the log.
    fn at_the_end(&self, sent: usize, end: &End) -> Delivered {
        let (mut sent, mut unsent) = (sent, true);
        let mut tries = Tries::new(MAX_TRIES, MAX_PAUSE, self.hurry);
        loop {
            if std::mem::take(&mut unsent) {
                sent = match self.rest(sent) {
                    Ok(sent) => sent,
                    Err(()) => return Delivered::Gone,
                };
            }
            let finished = self
                .log
                .with_text(|log| self.client.finish(self.job, end, log));
            let Err(error) = finished else {
                return Delivered::Yes;
            };
            match error.answer {
                Answer::Refused(_) | Answer::Gone => {
                    log::warn!("the coordinator does not know the job any more: {error}");
                    return Delivered::Gone;
                }
                Answer::OtherLog if tries.again(None) => {
                    log::warn!("the log is sent again: {error}");
                    (sent, unsent) = (0, true);
                }
                // That is how GitLab stores a log: it asks for some patience.
                Answer::NotYet(pause) if tries.again(pause) => {
                    log::debug!("the job's end is not taken yet: {error}");
                    unsent = true;
                }
                _ if error.is_temporary() && tries.again(error.retry_after()) => {
                    log::warn!("the job's end is not told yet: {error}");
                }
                _ => return Delivered::No(error),
            }
        }
    }

    /// Sends what is behind byte `from` of a log that is whole. Returns how much is sent, or that the job is gone.
    fn rest(&self, from: usize) -> Result<usize, ()> {
        let mut sent = from;
        let mut tries = Tries::new(MAX_TRIES, MAX_PAUSE, self.hurry);
        while sent < self.log.size() {
            let part = self.log.part(sent, MAX_PATCH, true);
            match self.patch(sent, &part.bytes) {
                // A coordinator that asks for the same part again and again has a problem too.
                Sent::At(at, _) if at <= sent => {
                    sent = at;
                    if !tries.again(None) {
                        break;
                    }
                }
                Sent::At(at, _) => sent = at,
                Sent::Gone => return Err(()),
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
        Ok(sent)
    }
}

/// The coordinator says that the job is to stop, by this word.
fn stop(what: &Cancel, word: &str) {
    if what.reason().is_none() {
        log::info!("the coordinator says that the job is {word}");
    }
    what.trigger(Reason::Canceled);
}

/// A pause that a coordinator asks for, where it is one.
fn bounded(asked: Duration) -> Duration {
    asked.clamp(Duration::from_secs(1), MAX_INTERVAL)
}
