//! A job's log on its way out: masks secrets, keeps lines whole, hands on to whoever shows it.

pub mod mask;

use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use mask::Masker;

/// Where a job's output and the runner's own lines about it go. All threads of a job share it.
pub struct Trace {
    inner: Mutex<Inner>,
    /// Whether the reader wants colour.
    pub colour: bool,
}

struct Inner {
    masker: Masker,
    out: Box<dyn Write + Send>,
    /// The last byte handed in, to begin the runner's own lines on a line of their own.
    last: u8,
}

impl Trace {
    /// A trace that writes to `out`.
    #[must_use]
    pub fn new(out: Box<dyn Write + Send>, masker: Masker, colour: bool) -> Self {
        Self {
            inner: Mutex::new(Inner {
                masker,
                out,
                last: b'\n',
            }),
            colour,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes output of the job.
    ///
    /// # Errors
    /// Those of the writer behind it.
    pub fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut inner = self.lock();
        inner.write(bytes)?;
        // Dots that tell of progress have no line break behind them.
        inner.out.flush()
    }

    /// Takes a line of the runner's own.
    ///
    /// # Errors
    /// Those of the writer behind it.
    pub fn line(&self, text: &str) -> io::Result<()> {
        let mut inner = self.lock();
        let begin = if inner.last == b'\n' { "" } else { "\n" };
        inner.write(format!("{begin}{text}\n").as_bytes())?;
        inner.out.flush()
    }

    /// A warning, in the style of the runner's own lines.
    ///
    /// # Errors
    /// Those of the writer behind it.
    pub fn warning(&self, text: &str) -> io::Result<()> {
        self.line(&self.coloured("33;1", &format!("WARNING: {text}")))
    }

    /// `text` in a colour (an SGR parameter), if the reader wants any.
    #[must_use]
    pub fn coloured(&self, sgr: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{sgr}m{text}\x1b[0;m")
        } else {
            text.to_owned()
        }
    }

    /// Hands on what was held back for masking: nothing follows.
    ///
    /// # Errors
    /// Those of the writer behind it.
    pub fn finish(&self) -> io::Result<()> {
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
        self.masker.push(bytes, &mut self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::{Trace, mask::Masker};
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
            trace.line("Job succeeded"),
            trace.warning("x"),
            trace.finish(),
        ] {
            step.expect("memory");
        }
        assert_eq!(
            *shown.0.lock().expect("no panic"),
            b"no newline\nJob succeeded\nWARNING: x\n"
        );
    }
}
