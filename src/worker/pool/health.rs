//! Whether an engine of a pool can be relied on, as far as this process knows: it has answered lately, or it rests.

use std::time::{Duration, Instant};

use crate::retry::Backoff;

/// How long an answer counts.
const LATELY: Duration = Duration::from_mins(1);
/// How old an answer may be before the next is asked for, so that none has to be waited for.
const REFRESHED: Duration = Duration::from_secs(30);
/// How long an engine rests that does not answer, at first and at most.
const REST: (Duration, Duration) = (Duration::from_secs(2), Duration::from_mins(2));

/// What is known of an engine. It begins with nothing known.
pub(super) struct Health {
    /// When it answered last.
    answered: Option<Instant>,
    /// Why it rests, if it does.
    resting: Option<String>,
    /// When it may be looked at next.
    due: Option<Instant>,
    looking: bool,
    backoff: Backoff,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            answered: None,
            resting: None,
            due: None,
            looking: false,
            backoff: Backoff::between(REST.0, REST.1),
        }
    }
}

impl Health {
    /// Whether a job may be asked for.
    pub fn is_good(&self, now: Instant) -> bool {
        let lately = |at: Instant| now.saturating_duration_since(at) < LATELY;
        self.resting.is_none() && self.answered.is_some_and(lately)
    }

    /// Why it rests, if it does.
    pub fn resting(&self) -> Option<&str> {
        self.resting.as_deref()
    }

    /// Whether it is being looked at.
    pub fn is_looked_at(&self) -> bool {
        self.looking
    }

    /// Whether it is time to look at it, which the caller does then.
    pub fn begins_look(&mut self, now: Instant) -> bool {
        let begins = !self.looking && self.due.is_none_or(|due| due <= now);
        self.looking |= begins;
        begins
    }

    /// A look has ended, whatever it showed.
    pub fn look_ended(&mut self) {
        self.looking = false;
    }

    /// It answered. Returns whether it rested until now. Its pauses begin anew when it answers once more: one that answers
    /// looks, and fails all jobs, gets fewer and fewer.
    pub fn answers(&mut self, now: Instant) -> bool {
        self.answered = Some(now);
        self.due = Some(now + REFRESHED);
        let rested = self.resting.take().is_some();
        if !rested {
            self.backoff.reset();
        }
        rested
    }

    /// It did not answer: it rests, each time longer. Returns for how long, where it did not rest before.
    pub fn fails(&mut self, now: Instant, why: &str) -> Option<Duration> {
        let pause = self.backoff.pause(None);
        self.due = Some(now + pause);
        let before = self.resting.replace(why.to_owned());
        before.is_none().then_some(pause)
    }

    /// What it answered before does not count any more.
    pub fn doubt(&mut self) {
        self.answered = None;
        if self.resting.is_none() {
            self.due = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Health, LATELY, REFRESHED, REST};
    use std::time::Instant;

    #[test]
    fn an_engine_is_relied_on_while_its_last_answer_is_fresh() {
        let begin = Instant::now();
        let mut health = Health::default();
        assert!(!health.is_good(begin) && health.begins_look(begin));
        assert!(!health.begins_look(begin), "one look at a time");
        health.look_ended();
        assert!(!health.answers(begin));
        let refreshed = begin + REFRESHED;
        assert!(health.is_good(refreshed), "while it is looked at again");
        assert!(!health.begins_look(begin + REFRESHED / 2));
        assert!(health.begins_look(refreshed));
        assert!(!health.is_good(begin + LATELY));
        health.look_ended();
        health.answers(refreshed);
        health.doubt();
        assert!(!health.is_good(refreshed) && health.begins_look(refreshed));
    }

    #[test]
    fn one_that_fails_rests_longer_each_time_and_is_told_of_once() {
        let mut now = Instant::now();
        let mut health = Health::default();
        health.answers(now);
        assert!(health.fails(now, "gone").is_some());
        assert_eq!(health.resting(), Some("gone"));
        for _ in 0..10 {
            assert!(!health.is_good(now) && !health.begins_look(now));
            health.doubt();
            now += REST.1;
            assert!(health.begins_look(now), "it comes back by itself");
            health.look_ended();
            assert_eq!(health.fails(now, "still gone"), None);
        }
        assert!(!health.begins_look(now + REST.1 / 3), "the pause has grown");
        let mut pause_after = |answers: u32| {
            for number in 0..answers {
                assert_eq!(health.answers(now), number == 0, "it rested until now");
                assert!(health.is_good(now));
            }
            health.fails(now, "again").expect("it did not rest")
        };
        assert!(pause_after(1) >= REST.1 / 2, "one answer proves little");
        assert!(pause_after(2) <= REST.0);
    }
}
