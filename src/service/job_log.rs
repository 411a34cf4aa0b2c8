//! A job's log on its way to a coordinator: all of it, as text.

use std::fs::File;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::outcome::Outcome;

/// A log that is written by the job and read by its upload.
#[derive(Default)]
pub struct JobLog {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    text: String,
    /// The first bytes of a character whose end has not come yet.
    torn: Vec<u8>,
    /// How the job ended; nothing follows then.
    outcome: Option<Outcome>,
    /// Has the same text, for recovery should this runner be killed.
    copy: Option<File>,
}

/// A part of a log, and whether there is more.
#[derive(Debug, PartialEq, Eq)]
pub struct Part {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Behind it is a line that is not finished yet.
    pub unfinished: bool,
}

impl JobLog {
    /// A log that is there already.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let state = State {
            text,
            ..State::default()
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    /// From now on, all that is written goes to a file too.
    pub fn copy_to(&self, file: File) {
        self.lock().copy = Some(file);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that nothing follows. Only the first call counts.
    pub fn close(&self, outcome: &Outcome) {
        let mut state = self.lock();
        if !state.torn.is_empty() {
            state.torn.clear();
            let from = state.text.len();
            state.text.push(char::REPLACEMENT_CHARACTER);
            state.copy_from(from);
        }
        state.outcome.get_or_insert_with(|| outcome.clone());
        drop(state);
        self.changed.notify_all();
    }

    /// How the job ended, if it has.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        self.lock().outcome.clone()
    }

    /// How many bytes there are.
    #[must_use]
    pub fn size(&self) -> usize {
        self.lock().text.len()
    }

    /// Waits until `until`, or until there are `size` bytes behind `from`, or nothing follows.
    pub fn wait(&self, from: usize, size: usize, until: Instant) {
        let mut state = self.lock();
        while state.outcome.is_none() && state.text.len().saturating_sub(from) < size {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits this long, or until nothing follows. Returns whether that is so.
    pub fn wait_for_end(&self, limit: Duration) -> bool {
        let open = |state: &mut State| state.outcome.is_none();
        let waited = self.changed.wait_timeout_while(self.lock(), limit, open);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.outcome.is_some()
    }

    /// What is behind byte `from`, at most `size` bytes: whole lines, or with `torn` whatever there is.
    #[must_use]
    pub fn part(&self, from: usize, size: usize, torn: bool) -> Part {
        let state = self.lock();
        let rest = &state.text.as_bytes()[from.min(state.text.len())..];
        let window = &rest[..rest.len().min(size)];
        let whole = window.iter().rposition(|byte| *byte == b'\n');
        let end = match whole {
            // A line that is longer than a part has to be torn.
            _ if torn || (whole.is_none() && window.len() == size) => window.len(),
            Some(at) => at + 1,
            None => 0,
        };
        Part {
            bytes: window[..end].to_vec(),
            unfinished: end < rest.len(),
        }
    }

    /// Does something with the whole text.
    pub fn with_text<T>(&self, work: impl FnOnce(&str) -> T) -> T {
        // The writer is gone by then, so that no thread waits for this lock.
        work(&self.lock().text)
    }
}

impl State {
    /// Copies what is behind byte `from`.
    fn copy_from(&mut self, from: usize) {
        let Some(copy) = &mut self.copy else { return };
        if let Err(error) = copy.write_all(&self.text.as_bytes()[from..]) {
            // The job is not to suffer from that.
            log::warn!("cannot write a copy of the job's log: {error}");
            self.copy = None;
        }
    }
}

/// The writing end.
pub struct Writer(pub Arc<JobLog>);

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0.lock();
        let from = state.text.len();
        let State { text, torn, .. } = &mut *state;
        if torn.is_empty() {
            push(text, torn, bytes);
        } else {
            let whole = [std::mem::take(torn).as_slice(), bytes].concat();
            push(text, torn, &whole);
        }
        state.copy_from(from);
        drop(state);
        self.0.changed.notify_all();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Adds bytes to a text, with replacement characters for what is no UTF-8, and for NUL, which
/// the PostgreSQL of AlloyCI refuses.
fn push(text: &mut String, torn: &mut Vec<u8>, bytes: &[u8]) {
    let mut rest = bytes;
    loop {
        let (good, error) = match str::from_utf8(rest) {
            Ok(good) => (good, None),
            Err(error) => {
                let good = &rest[..error.valid_up_to()];
                (str::from_utf8(good).unwrap_or_default(), Some(error))
            }
        };
        let mut pieces = good.split('\0');
        text.push_str(pieces.next().unwrap_or_default());
        for piece in pieces {
            text.push(char::REPLACEMENT_CHARACTER);
            text.push_str(piece);
        }
        let Some(error) = error else { return };
        rest = &rest[error.valid_up_to()..];
        let Some(length) = error.error_len() else {
            torn.extend_from_slice(rest);
            return;
        };
        text.push(char::REPLACEMENT_CHARACTER);
        rest = &rest[length..];
    }
}

#[cfg(test)]
mod tests {
    use super::{JobLog, Part, Writer};
    use crate::outcome::Outcome;
    use std::io::Write;
    use std::sync::Arc;

    fn text(writes: &[&[u8]]) -> String {
        let log = Arc::new(JobLog::default());
        for bytes in writes {
            Writer(log.clone()).write_all(bytes).expect("memory");
        }
        log.close(&Outcome::Success);
        log.with_text(str::to_owned)
    }

    #[test]
    fn what_is_no_text_is_replaced_and_characters_may_be_torn() {
        let all = "grün → \u{1f980}";
        for cut in 0..all.len() {
            let (left, right) = all.as_bytes().split_at(cut);
            assert_eq!(text(&[left, right]), all, "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = all.as_bytes().chunks(1).collect();
        assert_eq!(text(&bytes), all);
        assert_eq!(text(&[b"a\0b\xffc\xc3"]), "a\u{fffd}b\u{fffd}c\u{fffd}");
        assert_eq!(text(&[b"\xe2\x82", b"x"]), "\u{fffd}x");
    }

    #[test]
    fn parts_are_whole_lines_unless_torn_ones_are_wanted() {
        let log = Arc::new(JobLog::default());
        Writer(log.clone())
            .write_all(b"one\ntwo\nthr")
            .expect("memory");
        let part = |from, size, torn| log.part(from, size, torn);
        let want = |bytes: &[u8], unfinished| Part {
            bytes: bytes.to_vec(),
            unfinished,
        };
        assert_eq!(part(0, 100, false), want(b"one\ntwo\n", true));
        assert_eq!(part(0, 6, false), want(b"one\n", true));
        assert_eq!(part(0, 2, false), want(b"on", true));
        assert_eq!(part(8, 100, false), want(b"", true));
        assert_eq!(part(8, 100, true), want(b"thr", false));
        assert_eq!(part(50, 100, true), want(b"", false));
    }
}
