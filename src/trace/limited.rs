//! A limit on the size of a log.

use std::io::{self, Write};

/// Passes so many kilobytes on and drops the rest.
pub(super) struct Limited {
    out: Box<dyn Write + Send>,
    /// Kilobytes of 1024 bytes.
    pub limit: Option<u64>,
    passed: u64,
    cut: bool,
}

impl Limited {
    pub fn new(out: Box<dyn Write + Send>) -> Self {
        Self {
            out,
            limit: None,
            passed: 0,
            cut: false,
        }
    }

    /// Whether everything is dropped from now on.
    pub fn is_cut(&self) -> bool {
        self.cut && self.limit.is_some()
    }

    /// Removes the limit. Returns whether anything was dropped.
    pub fn lift(&mut self) -> bool {
        self.limit = None;
        self.cut
    }
}

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(limit) = self.limit else {
            return self.out.write(bytes);
        };
        let left = limit.saturating_mul(1024) - self.passed;
        let fits = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
        if !self.cut {
            self.out.write_all(&bytes[..fits])?;
            self.passed += fits as u64;
            if fits < bytes.len() {
                self.cut = true;
                let note = "the log is cut here: it has";
                writeln!(
                    self.out,
                    "\n[{note} {limit} kB, and output_limit allows no more]"
                )?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
