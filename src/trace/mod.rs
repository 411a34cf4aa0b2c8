//! A job's log: masks secrets, keeps the runner's own lines apart from the job's output, limits the size, and passes
//! the result on to a terminal, a file or an upload.

mod forms;
mod limited;
pub mod mask;
mod needles;
pub mod secrets;
mod sequences;
pub mod stamps;
mod tail;
pub mod terminal;
pub mod tokens;

use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use limited::Limited;
use mask::Masker;
use tail::Tail;

use crate::outcome::shown;

/// What a warning begins with.
pub const WARNING: &str = "WARNING: ";

/// The log of a job, which takes its output and the runner's own lines about it. All threads of a job share it.
pub struct Trace {
    inner: Mutex<Inner>,
    /// Whether the reader wants colour.
    pub colour: bool,
}

struct Inner {
    masker: Masker,
    out: Tail,
    /// The last byte that was written: a line of the runner's own has to begin after a line break.
    last: u8,
}

impl Trace {
    /// Makes a log that is written to `out`.
    #[must_use]
    pub fn new(out: Box<dyn Write + Send>, masker: Masker, colour: bool) -> Self {
        Self {
            inner: Mutex::new(Inner {
                masker,
                out: Tail::new(Limited::new(out)),
                last: b'\n',
            }),
            colour,
        }
    }

    /// Limits the log: after so many kilobytes, a line says that it is cut, and the rest is dropped, except the
    /// [last line](Self::end).
    #[must_use]
    pub fn limited(self, kilobytes: u64) -> Self {
        self.lock().out.out.limit = Some(kilobytes);
        self
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes output of the job.
    ///
    /// # Errors
    /// Those of the writer behind it.
    pub fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut inner = self.lock();
        inner.write(bytes)?;
        // Progress may be shown by dots without a line break.
        inner.out.flush()
    }

    /// Writes a line of the runner's own.
    ///
    /// # Errors
    /// Those of the writer behind it.
    pub fn line(&self, text: &str) -> io::Result<()> {
        self.own_line(&remark(text))
    }

    /// Writes a mark that GitLab's page reads and does not show, and a title behind it, on a line of their own.
    ///
    /// # Errors
    /// Those of the writer behind it.
    pub fn mark(&self, mark: &str, title: &str) -> io::Result<()> {
        self.own_line(&format!("{mark}\r\x1b[0K{title}"))
    }

    /// Writes a text as it is, on a line of its own.
    fn own_line(&self, text: &str) -> io::Result<()> {
        let mut inner = self.lock();
        let begin = if inner.last == b'\n' { "" } else { "\n" };
        inner.write(format!("{begin}{text}\n").as_bytes())?;
        inner.out.flush()
    }

    /// Writes a warning as a line of the runner's own.
    ///
    /// # Errors
    /// Those of the writer behind it.
    pub fn warning(&self, text: &str) -> io::Result<()> {
        self.line(&self.coloured("33;1", &format!("{WARNING}{text}")))
    }

    /// `text` in a colour (an SGR parameter), if the reader wants colour.
    #[must_use]
    pub fn coloured(&self, sgr: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{sgr}m{text}\x1b[0;m")
        } else {
            text.to_owned()
        }
    }

    /// Notes that the script has ended: later lines do not explain its failure.
    ///
    /// # Errors
    /// Those of the writer behind it.
    pub fn script_ended(&self) -> io::Result<()> {
        let mut inner = self.lock();
        let Inner { masker, out, .. } = &mut *inner;
        masker.finish(out)?;
        out.keep();
        Ok(())
    }

    /// The last lines of the script or, if it did not start, those before it, as plain text.
    #[must_use]
    pub fn last_lines(&self) -> Vec<String> {
        self.lock().out.lines()
    }

    /// Writes the last line, after all output that was held back for masking. The limit does not apply to it.
    ///
    /// # Errors
    /// Those of the writer behind it.
    pub fn end(&self, text: &str) -> io::Result<()> {
        let mut inner = self.lock();
        let Inner { masker, out, last } = &mut *inner;
        masker.finish(out)?;
        out.keep();
        if out.out.lift() {
            *last = b'\n';
        }
        drop(inner);
        self.line(text)?;
        let inner = &mut *self.lock();
        inner.masker.finish(&mut inner.out)?;
        inner.out.flush()
    }
}

impl Inner {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(last) = bytes.last() {
            self.last = *last;
        }
        // Output that is dropped need not be searched for secrets.
        if self.out.out.is_cut() {
            return Ok(());
        }
        self.masker.push(bytes, &mut self.out)
    }
}

/// Escapes control characters in a line of the runner's own, which may quote a job: the quote cannot control a terminal
/// or begin another line. Colours are kept.
fn remark(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let mut whole = shown(parts.next().unwrap_or_default());
    for part in parts {
        let parameters = part.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        let is_colour = parameters.starts_with('m');
        whole.push_str(if is_colour { "\x1b[" } else { "\\u{1b}[" });
        whole.push_str(&shown(part));
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::{Trace, mask::Masker, remark};
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Shown(Arc<Mutex<Vec<u8>>>);

    impl Write for Shown {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_runners_lines_begin_on_a_line_of_their_own() {
        let shown = Shown::default();
        let trace = Trace::new(Box::new(shown.clone()), Masker::new(&[]), false);
        for step in [
            trace.write(b"no newline"),
            trace.warning("x"),
            trace.end("Job succeeded"),
        ] {
            step.expect("memory");
        }
        assert_eq!(
            *shown.0.lock().expect("no panic"),
            b"no newline\nWARNING: x\nJob succeeded\n"
        );
    }

    #[test]
    fn a_line_of_the_runners_own_is_one_and_leads_no_terminal() {
        assert_eq!(
            remark("\x1b[31;1mERROR: a\tb\x1b[0;m"),
            "\x1b[31;1mERROR: a\tb\x1b[0;m"
        );
        assert_eq!(
            remark("a\nJob succeeded\r\x1b[2J\x1b]0;x\x07"),
            "a\\nJob succeeded\\r\\u{1b}[2J\\u{1b}]0;x\\u{7}"
        );
    }

    #[test]
    fn a_limited_log_says_where_it_is_cut_and_how_the_job_ended() {
        let shown = Shown::default();
        let trace = Trace::new(Box::new(shown.clone()), Masker::new(&[]), false).limited(1);
        let line = [b'x'; 700];
        for step in [
            trace.write(&line),
            trace.write(&line),
            trace.write(&line),
            trace.end("Job succeeded"),
        ] {
            step.expect("memory");
        }
        let text = String::from_utf8(shown.0.lock().expect("no panic").clone()).expect("UTF-8");
        let cut = "x\n[the log is cut here: it has 1 kB, and output_limit allows no more]\nJob succeeded\n";
        assert!(text.ends_with(cut), "{text}");
        assert_eq!(text.matches('x').count(), 1024);
    }
}
