//! The last lines of a log, for the summary of failed jobs at the end of a run.

use std::io::{self, Write};

use super::limited::Limited;

/// How many lines are kept.
const LINES: usize = 3;
/// How much of the end is remembered, in bytes. Of a longer line, only the end is kept.
const LOOKED_AT: usize = 4096;
/// How long a line may be, in characters.
const LONGEST: usize = 200;

/// Passes a log on, and remembers its last lines.
pub(super) struct Tail {
    pub out: Limited,
    recent: Vec<u8>,
    kept: Option<Vec<String>>,
}

impl Tail {
    pub fn new(out: Limited) -> Self {
        Self {
            out,
            recent: Vec::new(),
            kept: None,
        }
    }

    /// Keeps the lines so far as the last ones, whatever follows. Later calls have no effect.
    pub fn keep(&mut self) {
        if self.kept.is_none() {
            self.kept = Some(lines(&self.recent));
            self.recent = Vec::new();
        }
    }

    /// The last lines before [`Tail::keep`], as plain text.
    pub fn lines(&self) -> Vec<String> {
        self.kept.clone().unwrap_or_else(|| lines(&self.recent))
    }
}

impl Write for Tail {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        if self.kept.is_none() {
            let bytes = &bytes[written.saturating_sub(LOOKED_AT)..written];
            self.recent.extend_from_slice(bytes);
            if self.recent.len() > 2 * LOOKED_AT {
                self.recent.drain(..self.recent.len() - LOOKED_AT);
            }
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn lines(text: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(text);
    let lines = text.lines().rev().map(plain);
    let mut lines: Vec<String> = lines
        .filter(|line| !line.trim().is_empty())
        .take(LINES)
        .collect();
    lines.reverse();
    lines
}

/// A line as a terminal shows it in the end: the last state of a line that was overwritten, without escape sequences.
pub fn plain(line: &str) -> String {
    let line = line.trim_end_matches('\r');
    let line = line.rsplit('\r').next().unwrap_or(line);
    let mut text = String::new();
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        match c {
            '\x1b' => {
                if rest.as_str().starts_with('[') {
                    // The sequence ends with its first letter.
                    let _ = rest.find(char::is_ascii_alphabetic);
                }
            }
            '\t' => text.push(' '),
            c if c.is_control() => {}
            c => text.push(c),
        }
    }
    if text.chars().count() > LONGEST {
        text = text.chars().take(LONGEST - 1).chain(['…']).collect();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Limited, Tail, plain};
    use std::io::{self, Write};

    #[test]
    fn of_a_log_its_last_lines_are_kept_without_what_follows() {
        let mut tail = Tail::new(Limited::new(Box::new(io::sink())));
        for text in [
            "one\ntwo\n\nth",
            "ree\n10%\r100%\r\n",
            "\x1b[31mred\x1b[0m\n",
        ] {
            tail.write_all(text.as_bytes()).expect("nowhere");
        }
        assert_eq!(tail.lines(), ["three", "100%", "red"]);
        tail.keep();
        tail.write_all(b"uploading\n").expect("nowhere");
        tail.keep();
        assert_eq!(tail.lines(), ["three", "100%", "red"]);
    }

    #[test]
    fn a_long_log_takes_little_room() {
        let mut tail = Tail::new(Limited::new(Box::new(io::sink())));
        for _ in 0..1000 {
            tail.write_all(&[b'x'; 10_000]).expect("nowhere");
        }
        tail.write_all(b"\nend").expect("nowhere");
        assert!(tail.recent.len() <= 2 * super::LOOKED_AT);
        let lines = tail.lines();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[1], "end");
        assert_eq!(lines[0].chars().count(), 200);
    }

    #[test]
    fn nothing_of_a_line_leads_the_terminal() {
        assert_eq!(
            plain("a\x1b]52;c;x\x07b\x1b[2Jc\td\x1b[38;5;1m"),
            "a]52;c;xbc d"
        );
    }
}
