//! Masking secrets in a stream, also where one is torn over two writes.

use std::io::{self, Write};

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use crate::secret::{MASK, Secret};

/// Shorter values are no secrets worth the name, and masking them would make a log unreadable: AlloyCI
/// calls every variable of a project secret.
const MIN_LENGTH: usize = 4;
/// A line of a secret of several lines is masked by itself from this length on.
const MIN_LINE_LENGTH: usize = 8;
/// From this many bytes of secrets on, what searches them is built for its size.
const MAX_IN_TABLE: usize = 2 * 1024;
const NEVER: &[&str] = &["true", "false", "null"];

/// Replaces secrets by [`MASK`] in what passes through.
pub struct Masker {
    patterns: Vec<Vec<u8>>,
    search: Option<AhoCorasick>,
    longest: usize,
    /// The end of what was handed in that may be the beginning of a secret.
    pending: Vec<u8>,
}

/// What is masked for this secret.
fn patterns_of(secret: &str) -> Vec<Vec<u8>> {
    let mut patterns = Vec::new();
    let mut add = |text: &str, min: usize| {
        if text.chars().count() >= min && !NEVER.contains(&text) {
            patterns.push(text.as_bytes().to_vec());
        }
    };
    add(secret, MIN_LENGTH);
    add(secret.trim(), MIN_LENGTH);
    if secret.contains('\n') {
        secret
            .lines()
            .for_each(|line| add(line.trim(), MIN_LINE_LENGTH));
    }
    patterns
}

impl Masker {
    /// A masker of these secrets. Values under 4 characters, `true`, `false` and `null` are let through.
    #[must_use]
    pub fn new(secrets: &[Secret]) -> Self {
        let mut patterns: Vec<Vec<u8>> = secrets
            .iter()
            .flat_map(|secret| patterns_of(secret.expose()))
            .collect();
        patterns.sort();
        patterns.dedup();
        // What searches fastest is a table of all bytes for each byte of a secret: of long ones, a minute's work.
        let all: usize = patterns.iter().map(Vec::len).sum();
        let kind = (all > MAX_IN_TABLE).then_some(AhoCorasickKind::ContiguousNFA);
        // Building fails only past 2^31 states, gigabytes of secrets, which no job can hand over.
        let search = (!patterns.is_empty())
            .then(|| {
                AhoCorasick::builder()
                    .match_kind(MatchKind::LeftmostLongest)
                    .kind(kind)
                    .build(&patterns)
                    .ok()
            })
            .flatten();
        let longest = patterns.iter().map(Vec::len).max().unwrap_or(0);
        Self {
            patterns,
            search,
            longest,
            pending: Vec::new(),
        }
    }

    /// A whole text, masked.
    #[must_use]
    pub fn masked(&self, text: &str) -> String {
        let Some(search) = &self.search else {
            return text.to_owned();
        };
        let mut masked = String::with_capacity(text.len());
        let mut copied = 0;
        for found in search.find_iter(text) {
            masked.push_str(&text[copied..found.start()]);
            masked.push_str(MASK);
            copied = found.end();
        }
        masked + &text[copied..]
    }

    /// Takes the next bytes and writes what is sure.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn push(&mut self, bytes: &[u8], out: &mut dyn Write) -> io::Result<()> {
        let Some(search) = &self.search else {
            return out.write_all(bytes);
        };
        if self.pending.is_empty() {
            let kept = replace(search, &self.patterns, self.longest, bytes, out)?;
            self.pending.extend_from_slice(&bytes[kept..]);
        } else {
            self.pending.extend_from_slice(bytes);
            let kept = replace(search, &self.patterns, self.longest, &self.pending, out)?;
            self.pending.drain(..kept);
        }
        Ok(())
    }

    /// Writes what was held back.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn finish(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let pending = std::mem::take(&mut self.pending);
        let Some(search) = &self.search else {
            return Ok(());
        };
        let mut written = 0;
        for found in search.find_iter(&pending) {
            out.write_all(&pending[written..found.start()])?;
            out.write_all(MASK.as_bytes())?;
            written = found.end();
        }
        out.write_all(&pending[written..])
    }
}

/// Writes `text` masked, up to where a secret may have begun that goes on in the next write. Returns how
/// much of `text` is done.
fn replace(
    search: &AhoCorasick,
    patterns: &[Vec<u8>],
    longest: usize,
    text: &[u8],
    out: &mut dyn Write,
) -> io::Result<usize> {
    let mut hold = open_end(patterns, longest, text, 0);
    let mut written = 0;
    for found in search.find_iter(text) {
        // A match in the open end may still become a longer one.
        if found.start() >= hold {
            break;
        }
        out.write_all(&text[written..found.start()])?;
        out.write_all(MASK.as_bytes())?;
        written = found.end();
        if written > hold {
            hold = open_end(patterns, longest, text, written);
        }
    }
    out.write_all(&text[written..hold])?;
    Ok(hold)
}

/// Where in `text`, at `from` or later, the longest tail begins that a secret goes on from.
fn open_end(patterns: &[Vec<u8>], longest: usize, text: &[u8], from: usize) -> usize {
    let earliest = text
        .len()
        .saturating_sub(longest.saturating_sub(1))
        .max(from);
    (earliest..text.len())
        .find(|at| {
            let tail = &text[*at..];
            patterns
                .iter()
                .any(|pattern| pattern.len() > tail.len() && pattern.starts_with(tail))
        })
        .unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::Masker;
    use crate::secret::Secret;

    fn masked(secrets: &[&str], writes: &[&[u8]]) -> String {
        let secrets: Vec<Secret> = secrets.iter().map(|text| Secret::new(*text)).collect();
        let mut masker = Masker::new(&secrets);
        let mut out = Vec::new();
        for bytes in writes {
            masker.push(bytes, &mut out).expect("memory");
        }
        masker.finish(&mut out).expect("memory");
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn masks_secrets_torn_anywhere() {
        let text = b"a hunter22, a hunter2 and a hunter";
        let want = "a [MASKED], a [MASKED] and a hunter";
        for cut in 0..text.len() {
            let (left, right) = text.split_at(cut);
            assert_eq!(
                masked(&["hunter2", "hunter22"], &[left, right]),
                want,
                "cut at {cut}"
            );
        }
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(masked(&["hunter2", "hunter22"], &bytes), want);
    }

    #[test]
    fn masks_the_long_lines_of_a_key_by_themselves() {
        let key = "-----BEGIN-----\nabcdefghij\nxy\n-----END-----";
        assert_eq!(masked(&[key], &[b"abcdefghij xy"]), "[MASKED] xy");
        assert_eq!(masked(&[key], &[key.as_bytes()]), "[MASKED]");
    }

    #[test]
    fn leaves_what_is_too_common() {
        assert_eq!(
            masked(&["true", "1", "abc", ""], &[b"true 1 abc"]),
            "true 1 abc"
        );
    }
}
