//! What a job's time goes into.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::plan::StageKind;

/// Something that takes a job's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// Network, volumes and images.
    Prepare,
    /// An image is looked for, pulled or built.
    Pull,
    /// A service is started.
    Service,
    /// Services are asked until they answer.
    WaitForServices,
    /// The helper is started.
    Helper,
    /// A stage of the plan.
    Stage(StageKind),
    /// What was made for the job is removed.
    CleanUp,
}

impl Activity {
    /// Its name for machines, as the metrics have it.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Pull => "pull",
            Self::Service => "service",
            Self::WaitForServices => "wait_for_services",
            Self::Helper => "helper",
            Self::Stage(kind) => kind.key(),
            Self::CleanUp => "cleanup",
        }
    }

    /// Whether it is a part of another one, or goes on in the background of one, so that it is no step of a job.
    #[must_use]
    pub fn is_within_a_step(self) -> bool {
        match self {
            Self::Pull | Self::Service | Self::WaitForServices | Self::Helper => true,
            Self::Prepare | Self::Stage(_) | Self::CleanUp => false,
        }
    }
}

/// A part of a job's time; they overlap.
#[derive(Clone, Debug)]
pub struct Span {
    /// What it went into.
    pub activity: Activity,
    /// Which one, where there are several: an image's name.
    pub subject: String,
    /// When it began.
    pub began: Instant,
    /// How long it took.
    pub took: Duration,
}

/// The spans of a job so far.
pub(super) struct Spans<'a> {
    /// Hears what begins.
    began: &'a (dyn Fn(Activity) + Sync),
    ended: Mutex<Vec<Span>>,
}

impl<'a> Spans<'a> {
    pub fn new(began: &'a (dyn Fn(Activity) + Sync)) -> Self {
        Self {
            began,
            ended: Mutex::default(),
        }
    }

    /// Says that something begins, and when.
    pub fn begin(&self, activity: Activity) -> Instant {
        (self.began)(activity);
        Instant::now()
    }

    /// Notes that something which began then has ended.
    pub fn end(&self, activity: Activity, subject: &str, began: Instant) {
        let span = Span {
            activity,
            subject: subject.to_owned(),
            began,
            took: began.elapsed(),
        };
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.push(span);
    }

    /// Does something and notes how long it took.
    pub fn timed<T>(&self, activity: Activity, subject: &str, work: impl FnOnce() -> T) -> T {
        let began = self.begin(activity);
        let result = work();
        self.end(activity, subject, began);
        result
    }

    /// All of them, in the order of their ends.
    pub fn into_inner(self) -> Vec<Span> {
        self.ended
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
