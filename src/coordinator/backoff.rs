//! Growing pauses between tries.

use std::time::Duration;

/// The first pause.
const FIRST: Duration = Duration::from_secs(1);
/// No server is given a longer pause, whatever it asks for.
const LONGEST: Duration = Duration::from_mins(5);

/// Pauses that double, each shortened by chance by up to a half: many runners that lost one coordinator at the
/// same moment must not all come back at the same moment.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    next: Duration,
    limit: Duration,
}

impl Backoff {
    /// Pauses of up to `limit`.
    #[must_use]
    pub fn new(limit: Duration) -> Self {
        Self::between(FIRST, limit)
    }

    /// Pauses that begin with `first`.
    #[must_use]
    pub fn between(first: Duration, limit: Duration) -> Self {
        Self {
            first,
            next: first,
            limit,
        }
    }

    /// The next pause. What the server has asked for (`Retry-After`) counts instead, if it is longer.
    pub fn pause(&mut self, asked: Option<Duration>) -> Duration {
        let pause = self.next.min(self.limit);
        self.next = (self.next * 2).min(self.limit);
        let shortened = pause.mul_f64(0.5 + fastrand::f64() / 2.0);
        asked.map_or(shortened, |asked| asked.min(LONGEST).max(shortened))
    }

    /// Whether it has paused since it was made or reset.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.next == self.first
    }

    /// Begins again with short pauses: it went well.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::Backoff;
    use std::time::Duration;

    #[test]
    fn pauses_grow_to_their_limit_and_begin_again() {
        let mut backoff = Backoff::new(Duration::from_secs(20));
        for most in [1, 2, 4, 8, 16, 20, 20] {
            let (pause, most) = (backoff.pause(None), Duration::from_secs(most));
            assert!(pause <= most && pause >= most / 2, "{pause:?} of {most:?}");
        }
        backoff.reset();
        assert!(backoff.pause(None) <= Duration::from_secs(1));
        let asked = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(backoff.pause(asked(70)), Duration::from_secs(70));
        assert_eq!(backoff.pause(asked(1 << 40)), Duration::from_mins(5));
    }
}
