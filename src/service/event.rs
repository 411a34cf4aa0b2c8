//! What the thread of the scheduler is told by those that request jobs and run them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::serving::Serving;
use crate::coordinator::error::Answer as NoAnswer;
use crate::coordinator::{ApiError, JobResponse};
use crate::job::payload::JobPayload;
use crate::worker::signals::Signal;

/// What the deciding thread is told.
pub(super) enum Event {
    /// A job request of the runner with this number was answered.
    Answered(u64, Answer),
    /// A job has ended, and its slots are free.
    Ended,
    /// An engine can take jobs that could not before.
    EngineAnswers,
    Signal(Signal),
}

/// What a job request brought.
pub(super) enum Answer {
    /// A job, which the thread of the request runs.
    Job,
    /// No job, and the `last_update` to send with the next request.
    Nothing(Option<String>),
    Failed(ApiError),
}

/// Requests a job. Comes back also from a bug, or the deciding thread would wait for an answer for ever.
pub(super) fn request(
    serving: &Serving,
    last_update: Option<&str>,
) -> (Answer, Option<Box<JobPayload>>) {
    let asked = catch_unwind(AssertUnwindSafe(|| serving.ask(last_update)));
    let asked = asked.unwrap_or_else(|_| {
        Err(ApiError {
            tried: "a job request".to_owned(),
            answer: NoAnswer::None("the runner has a bug, please report it".to_owned()),
            request: String::new(),
        })
    });
    match asked {
        Ok(JobResponse::Job(payload)) => (Answer::Job, Some(payload)),
        Ok(JobResponse::Nothing(last_update)) => (Answer::Nothing(last_update), None),
        Ok(JobResponse::Lost(error)) => {
            log::error!("a job was handed out, and was lost on its way: {error}");
            (Answer::Failed(error), None)
        }
        Err(error) => (Answer::Failed(error), None),
    }
}
