//! When a runner requests a job again.

use std::time::{Duration, Instant};

use crate::config::RunnerConfig;
use crate::coordinator::ApiError;
use crate::retry::Backoff;

/// The longest pause after a job request that failed.
const MAX_PAUSE: Duration = Duration::from_mins(1);
/// How long a runner whose token is refused rests, at first and at most.
const REST: (Duration, Duration) = (Duration::from_mins(1), Duration::from_hours(1));
/// How long a runner rests after `unhealthy_requests_limit` failures unless `unhealthy_interval` says so.
const UNHEALTHY: Duration = Duration::from_hours(1);

/// The pace of one runner.
pub(super) struct Pace {
    /// When it may request a job again.
    pub due: Instant,
    /// When it did so last, if it ever did.
    pub asked: Option<Instant>,
    /// When it was due last, all slots were taken.
    pub needs_slot: bool,
    /// How many of its requests are not answered yet.
    pub asking: u32,
    /// What the last answer said, for the next request.
    pub last_update: Option<String>,
    backoff: Backoff,
    rest: Backoff,
    /// Also after a job the next request waits for the interval.
    strict: bool,
    /// After how many failures in a row it rests, and for how long.
    unhealthy: Option<(u32, Duration)>,
    /// How many requests have failed since one was answered, or since it rested.
    failures: u32,
}

impl Pace {
    pub fn new(due: Instant, config: &RunnerConfig) -> Self {
        let limit = config.unhealthy_requests_limit.filter(|limit| *limit > 0);
        Self {
            due,
            asked: None,
            needs_slot: false,
            asking: 0,
            last_update: None,
            backoff: Backoff::new(MAX_PAUSE),
            rest: Backoff::between(REST.0, REST.1),
            strict: config.strict_check_interval == Some(true),
            unhealthy: limit.map(|limit| (limit, config.unhealthy_interval.unwrap_or(UNHEALTHY))),
            failures: 0,
        }
    }

    /// Whether the coordinator answered the last time.
    pub fn is_well(&self) -> bool {
        self.backoff.is_fresh() && self.rest.is_fresh()
    }

    fn well(&mut self) {
        if !self.is_well() {
            log::info!("the coordinator answers again");
        }
        self.backoff.reset();
        self.rest.reset();
        self.failures = 0;
    }

    /// There was a job. The next request follows at once, since there may be more, unless the interval is strict.
    pub fn got_a_job(&mut self, now: Instant) {
        self.well();
        if !self.strict {
            self.due = now;
        }
    }

    /// There was no job. The time of the next request stays as it is.
    pub fn got_nothing(&mut self, last_update: Option<String>) {
        self.well();
        self.last_update = last_update;
    }

    /// The request failed.
    pub fn failed(&mut self, error: &ApiError, now: Instant, interval: Duration) {
        if error.is_refused() {
            let rest = self.rest.pause(None);
            log::error!(
                "{error}; this runner rests for {} s, or until the configuration changes",
                rest.as_secs()
            );
            self.due = now + rest;
        } else {
            let pause = self.backoff.pause(error.retry_after());
            let pause = pause.max(interval.min(MAX_PAUSE));
            self.failures += 1;
            let rest = self.unhealthy.filter(|(limit, _)| self.failures >= *limit);
            if let Some((limit, rest)) = rest {
                self.failures = 0;
                log::error!(
                    "{error}; {limit} requests in a row have failed: this runner rests for {} s (unhealthy_interval)",
                    rest.as_secs()
                );
                self.due = now + rest;
            } else {
                log::warn!("{error}; asks again in {} s", pause.as_secs());
                self.due = now + pause;
            }
        }
    }

    /// A slot for a job is free again, or an engine.
    pub fn slot_is_free(&mut self, now: Instant) {
        // A strict interval is kept, unless a request could not be made when it was due.
        if self.is_well() && (!self.strict || self.needs_slot) {
            self.due = self.due.min(now);
        }
    }

    /// A request, of this runner or another one, brought no job: its slot is free for one that had to do without.
    pub fn request_ended(&mut self, now: Instant) {
        if self.needs_slot {
            self.slot_is_free(now);
        }
    }

    /// The configuration was read again: its token may be known by now.
    pub fn configuration_changed(&mut self, now: Instant) {
        if !self.rest.is_fresh() {
            self.due = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Pace;
    use crate::config::RunnerConfig;
    use crate::coordinator::ApiError;
    use crate::coordinator::error::Answer;
    use std::time::{Duration, Instant};

    fn error(answer: Answer) -> ApiError {
        ApiError {
            tried: String::new(),
            answer,
            request: String::new(),
        }
    }

    #[test]
    fn a_job_brings_the_next_request_forward_and_a_failure_puts_it_off() {
        let now = Instant::now();
        let interval = Duration::from_secs(3);
        let mut pace = Pace::new(now + interval, &RunnerConfig::default());
        pace.got_a_job(now);
        assert_eq!(pace.due, now);
        pace.due = now + interval;
        pace.slot_is_free(now);
        assert_eq!(pace.due, now);
        for _ in 0..8 {
            pace.failed(&error(Answer::Status(502, None)), now, interval);
        }
        let pause = pace.due - now;
        assert!(pause >= Duration::from_secs(30) && pause <= Duration::from_mins(1));
        pace.slot_is_free(now);
        assert_eq!(
            pace.due - now,
            pause,
            "a free slot does not shorten a pause after a failure"
        );
        let busy = Answer::Busy(429, Some(Duration::from_secs(90)));
        pace.failed(&error(busy), now, interval);
        assert_eq!(pace.due - now, Duration::from_secs(90));
        pace.got_nothing(None);
        assert!(pace.is_well());
    }

    #[test]
    fn a_refused_runner_rests_until_the_configuration_changes() {
        let now = Instant::now();
        let mut pace = Pace::new(now, &RunnerConfig::default());
        pace.failed(&error(Answer::Refused(403)), now, Duration::from_secs(1));
        assert!(pace.due - now >= Duration::from_secs(30));
        pace.configuration_changed(now);
        assert_eq!(pace.due, now);
    }
    #[test]
    fn a_strict_interval_is_kept_after_a_job() {
        let now = Instant::now();
        let due = now + Duration::from_secs(3);
        let config = RunnerConfig {
            strict_check_interval: Some(true),
            ..RunnerConfig::default()
        };
        let mut pace = Pace::new(due, &config);
        pace.got_a_job(now);
        pace.slot_is_free(now);
        assert_eq!(pace.due, due);
        pace.needs_slot = true;
        pace.slot_is_free(now);
        assert_eq!(pace.due, now, "it had to wait already");
    }

    #[test]
    fn a_runner_rests_after_as_many_failures_as_its_configuration_says() {
        let now = Instant::now();
        let interval = Duration::from_secs(3);
        let config = RunnerConfig {
            unhealthy_requests_limit: Some(3),
            unhealthy_interval: Some(Duration::from_mins(10)),
            ..RunnerConfig::default()
        };
        let mut pace = Pace::new(now, &config);
        let rests = [false, false, true, false];
        for (number, rests) in rests.into_iter().enumerate() {
            pace.failed(&error(Answer::Status(502, None)), now, interval);
            let pause = pace.due - now;
            assert_eq!(
                pause == Duration::from_mins(10),
                rests,
                "{number}: {pause:?}"
            );
        }
        pace.got_nothing(None);
        pace.failed(&error(Answer::Status(502, None)), now, interval);
        pace.failed(&error(Answer::Status(502, None)), now, interval);
        assert!(pace.due - now <= Duration::from_mins(1), "in a row only");
    }
}
