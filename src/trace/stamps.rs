//! The time of each line of a log, as GitLab reads it (`FF_TIMESTAMPS`): 27 bytes of time in UTC with microseconds, two
//! hexadecimal digits for the stream, `O` for output, and a space.
//!
//! GitLab has a sign of its own, `+`, for an entry that goes on with the line before; here a line is one entry, however
//! many writes it comes by. All of a log is one stream, in the order in which it was written.

use std::io::{self, Write};

use jiff::Timestamp;

/// Behind the time.
const STREAM: &str = " 00O ";

/// Passes a log on, with the time before each line.
pub struct Stamps<W> {
    out: W,
    /// The time that the lines of a write have.
    now: fn() -> Timestamp,
    in_line: bool,
    /// Lines with their times, kept for the next write.
    stamped: Vec<u8>,
}

impl<W: Write> Stamps<W> {
    /// Passes a log on to `out`, which is at the beginning of a line.
    pub fn new(out: W) -> Self {
        Self::with_clock(out, Timestamp::now)
    }

    fn with_clock(out: W, now: fn() -> Timestamp) -> Self {
        Self {
            out,
            now,
            in_line: false,
            stamped: Vec::new(),
        }
    }
}

impl<W: Write> Write for Stamps<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let stamp = format!("{:.6}{STREAM}", (self.now)());
        self.stamped.clear();
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            if !self.in_line {
                self.stamped.extend_from_slice(stamp.as_bytes());
            }
            self.stamped.extend_from_slice(line);
            self.in_line = line.last() != Some(&b'\n');
        }
        self.out.write_all(&self.stamped)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::Stamps;
    use jiff::Timestamp;
    use std::io::Write;

    #[test]
    fn each_line_has_its_time_once() {
        let mut out = Vec::new();
        let clock = || Timestamp::new(1_609_462_800, 20_010_999).expect("a time");
        let mut stamps = Stamps::with_clock(&mut out, clock);
        for text in ["one\ntw", "o", "\n\nsection_start:1:x\r\x1b[0K", "head\n"] {
            stamps.write_all(text.as_bytes()).expect("memory");
        }
        let text = String::from_utf8(out).expect("UTF-8");
        let lines = ["one", "two", "", "section_start:1:x\r\x1b[0Khead"];
        let want = lines.map(|line| format!("2021-01-01T01:00:00.020010Z 00O {line}\n"));
        let want = want.concat();
        assert_eq!(text, want);
    }
}
