//! The markers in the output of a script, by which it says how far it is.

use std::io;

use crate::script::{BEGUN, FAILED, SUCCEEDED};

/// What the output of a script consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// What is for the log.
    Text(&'a [u8]),
    /// [`BEGUN`].
    Begun,
    /// [`FAILED`].
    Failed,
    /// [`SUCCEEDED`].
    Succeeded,
}

const MARKERS: [(&[u8], Part); 3] = [
    (BEGUN.as_bytes(), Part::Begun),
    (FAILED.as_bytes(), Part::Failed),
    (SUCCEEDED.as_bytes(), Part::Succeeded),
];

/// Finds the markers in what a script prints, also where one is torn over two reads.
#[derive(Default)]
pub(super) struct Reader {
    /// What may be the begin of a marker.
    held: Vec<u8>,
}

impl Reader {
    /// Hands on what was read, part by part.
    ///
    /// # Errors
    /// Those of `take`.
    pub fn push(
        &mut self,
        bytes: &[u8],
        take: &mut dyn FnMut(Part) -> io::Result<()>,
    ) -> io::Result<()> {
        let joined;
        let mut rest = bytes;
        if !self.held.is_empty() {
            self.held.extend_from_slice(bytes);
            joined = std::mem::take(&mut self.held);
            rest = &joined;
        }
        // What was looked at and is no marker.
        let mut seen = 0;
        while let Some(at) = memchr::memchr(b'\x1b', &rest[seen..]) {
            let (before, tail) = rest.split_at(seen + at);
            if let Some((marker, part)) =
                MARKERS.iter().find(|(marker, _)| tail.starts_with(marker))
            {
                text(before, take)?;
                take(*part)?;
                rest = &tail[marker.len()..];
                seen = 0;
            } else if MARKERS.iter().any(|(marker, _)| marker.starts_with(tail)) {
                self.held = tail.to_vec();
                return text(before, take);
            } else {
                seen = before.len() + 1;
            }
        }
        text(rest, take)
    }

    /// What is left when the script has ended: no marker.
    pub fn rest(&self) -> &[u8] {
        &self.held
    }
}

fn text(text: &[u8], take: &mut dyn FnMut(Part) -> io::Result<()>) -> io::Result<()> {
    if text.is_empty() {
        Ok(())
    } else {
        take(Part::Text(text))
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::{Part, Reader};
    use crate::script::{BEGUN, FAILED, SUCCEEDED};

    #[test]
    fn markers_are_found_wherever_they_are_torn() {
        let text =
            format!("{BEGUN}a \x1b[31mred\x1b[0m{FAILED}after{SUCCEEDED}{SUCCEEDED}\x1b_alloy\x1b");
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let mut reader = Reader::default();
                let mut seen = String::new();
                for range in [0..first, first..second, second..text.len()] {
                    let take = &mut |part: Part| {
                        match part {
                            Part::Text(text) => seen += std::str::from_utf8(text).expect("UTF-8"),
                            part => drop(write!(seen, "<{part:?}>")),
                        }
                        Ok(())
                    };
                    reader.push(&text.as_bytes()[range], take).expect("memory");
                }
                assert_eq!(
                    seen,
                    "<Begun>a \x1b[31mred\x1b[0m<Failed>after<Succeeded><Succeeded>\x1b_alloy"
                );
                assert_eq!(reader.rest(), b"\x1b", "cut at {first} and {second}");
            }
        }
    }
}
