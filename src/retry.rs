//! Trying again: how often, and how long to wait between two tries.

use std::time::Duration;

use crate::cancel::Cancel;

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

/// A bounded number of tries with growing pauses between them.
pub struct Tries<'a> {
    left: u32,
    backoff: Backoff,
    hurry: &'a Cancel,
}

impl<'a> Tries<'a> {
    /// At most `most` tries, with pauses of up to `longest`. Once `hurry` is triggered, there is no further one.
    #[must_use]
    pub fn new(most: u32, longest: Duration, hurry: &'a Cancel) -> Self {
        Self {
            left: most,
            backoff: Backoff::new(longest),
            hurry,
        }
    }

    /// Pauses after a failure, and says whether to try again. What the server has asked for counts as in
    /// [`Backoff::pause`].
    pub fn again(&mut self, asked: Option<Duration>) -> bool {
        self.left = self.left.saturating_sub(1);
        self.left > 0 && self.hurry.wait(self.backoff.pause(asked)).is_none()
    }
}

/// Tries until it works, fails in a way that no other try changes, or no pause is left. `wait` waits for a pause and
/// says so where people want to know; its error ends the tries.
///
/// # Errors
/// The last error, or that of `wait`.
pub fn retry<T, E>(
    pauses: impl IntoIterator<Item = Duration>,
    mut attempt: impl FnMut() -> Result<T, E>,
    is_temporary: impl Fn(&E) -> bool,
    mut wait: impl FnMut(&E, Duration) -> Result<(), E>,
) -> Result<T, E> {
    let mut pauses = pauses.into_iter();
    loop {
        let error = match attempt() {
            Err(error) if is_temporary(&error) => error,
            result => return result,
        };
        match pauses.next() {
            Some(pause) => wait(&error, pause)?,
            None => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Backoff, retry};
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

    #[test]
    fn a_temporary_failure_is_tried_again_until_no_pause_is_left() {
        let second = Duration::from_secs(1);
        for (answers, tries, end) in [
            (&[Ok(1)][..], 1, Ok(1)),
            (&[Err("busy"), Ok(2)], 2, Ok(2)),
            (&[Err("busy"), Err("refused")], 2, Err("refused")),
            (&[Err("busy"), Err("busy"), Err("busy")], 3, Err("busy")),
            (&[Err("busy"), Err("canceled")], 1, Err("canceled")),
        ] {
            let mut tried = 0;
            let ended = retry(
                [second, second],
                || {
                    tried += 1;
                    answers[tried - 1]
                },
                |error| *error == "busy",
                |_, pause| {
                    assert_eq!(pause, second);
                    match answers.get(1) {
                        Some(Err("canceled")) => Err("canceled"),
                        _ => Ok(()),
                    }
                },
            );
            assert_eq!((ended, tried), (end, tries), "{answers:?}");
        }
    }
}
