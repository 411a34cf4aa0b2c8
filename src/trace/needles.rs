//! Searches a text for many needles at once. The time depends on the length of the text only, however many needles
//! there are, and however long and similar they are.
//!
//! All needles are in one sorted list. A table of hashes of their first bytes finds the places where a needle may
//! begin; a binary search in the list then finds the needle. A text that is longer than [`LONGEST`] is cut into needles
//! of 64 bytes, so that less than [`LONGEST`] bytes of a stream have to be held back.

use crate::secret::SHORTEST;

/// The longest needle.
pub(super) const LONGEST: usize = 255;
/// The length of the needles that a longer text is cut into.
const PIECE: usize = 64;
/// How many places the table has for each needle, and its smallest and largest size. A place is a byte, not a bit:
/// looking up a bit would double the time for most bytes of a text.
const PLACES_EACH: usize = 16;
const PLACES: (usize, usize) = (1 << 13, 1 << 20);

/// Texts to look for.
pub(super) struct Needles {
    text: Vec<u8>,
    /// The needles in the order of their texts.
    sorted: Vec<Needle>,
    /// For each hash: whether the first [`SHORTEST`] bytes of a needle have it.
    heads: Vec<bool>,
    /// How far a hash is shifted to become an index of the table.
    shift: u32,
    first: [bool; 256],
}

#[derive(Clone, Copy)]
struct Needle {
    /// Its offset in the text.
    at: u32,
    length: u8,
    /// The index plus 1 of the longest other needle that this one begins with; 0 if there is none.
    within: u32,
}

impl Needles {
    /// Prepares a search for these texts. Those that are shorter than [`SHORTEST`] are ignored.
    pub fn new(texts: &[impl AsRef<[u8]>]) -> Self {
        let mut text = Vec::new();
        let mut sorted = Vec::new();
        for needle in texts.iter().map(AsRef::as_ref) {
            // No job has gigabytes of secrets: the limit for all of them is 1 MB.
            let Ok(at) = u32::try_from(text.len()) else {
                break;
            };
            text.extend_from_slice(needle);
            let mut add = |from: usize, length: usize| {
                if let (Ok(from), Ok(length)) = (u32::try_from(from), u8::try_from(length))
                    && usize::from(length) >= SHORTEST
                {
                    sorted.push(Needle {
                        at: at.saturating_add(from),
                        length,
                        within: 0,
                    });
                }
            };
            if needle.len() <= LONGEST {
                add(0, needle.len());
            } else {
                let last = needle.len() - PIECE;
                (0..last)
                    .step_by(PIECE)
                    .chain([last])
                    .for_each(|from| add(from, PIECE));
            }
        }
        let of = |needle: &Needle| &text[needle.at as usize..][..usize::from(needle.length)];
        sorted.sort_unstable_by(|a, b| of(a).cmp(of(b)));
        sorted.dedup_by(|a, b| of(a) == of(b));
        let mut around: Vec<usize> = Vec::new();
        for index in 0..sorted.len() {
            while let Some(outer) = around.last()
                && !of(&sorted[index]).starts_with(of(&sorted[*outer]))
            {
                around.pop();
            }
            let within = around
                .last()
                .and_then(|outer| u32::try_from(outer + 1).ok());
            sorted[index].within = within.unwrap_or(0);
            around.push(index);
        }
        let places = (sorted.len() * PLACES_EACH)
            .next_power_of_two()
            .clamp(PLACES.0, PLACES.1);
        let mut needles = Self {
            heads: vec![false; places],
            shift: 32 - places.ilog2(),
            first: [false; 256],
            sorted,
            text,
        };
        for index in 0..needles.sorted.len() {
            let needle = needles.of(needles.sorted[index]);
            let (first, head) = (needle[0], hash(needle) >> needles.shift);
            needles.first[usize::from(first)] = true;
            needles.heads[head] = true;
        }
        needles
    }

    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    fn of(&self, needle: Needle) -> &[u8] {
        &self.text[needle.at as usize..][..usize::from(needle.length)]
    }

    /// Whether these bytes, at least [`SHORTEST`], may begin with a needle.
    fn may_begin(&self, text: &[u8]) -> bool {
        self.heads[hash(text) >> self.shift]
    }

    /// Finds the next needle at `from` or later: its beginning, and the end of the longest needle there.
    pub fn find(&self, text: &[u8], from: usize) -> Option<(usize, usize)> {
        let (heads, shift) = (self.heads.as_slice(), self.shift);
        for (index, window) in text.get(from..)?.windows(SHORTEST).enumerate() {
            if heads[hash(window) >> shift] {
                let begin = from + index;
                if let Some(length) = self.longest(&text[begin..]) {
                    return Some((begin, begin + length));
                }
            }
        }
        None
    }

    /// The length of the longest needle that a text begins with.
    fn longest(&self, text: &[u8]) -> Option<usize> {
        let text = &text[..text.len().min(LONGEST)];
        let behind = self
            .sorted
            .partition_point(|needle| self.of(*needle) <= text);
        let mut needle = self.sorted[behind.checked_sub(1)?];
        // Every needle that the text begins with is one that this one begins with.
        if !text.starts_with(self.of(needle)) {
            let pairs = self.of(needle).iter().zip(text);
            let same = pairs.take_while(|(a, b)| a == b).count();
            while usize::from(needle.length) > same {
                needle = self.sorted[(needle.within as usize).checked_sub(1)?];
            }
        }
        Some(needle.length.into())
    }

    /// Where in a text, `from` or later, the longest tail begins that a needle goes on from.
    pub fn open_end(&self, text: &[u8], from: usize) -> usize {
        let earliest = text.len().saturating_sub(LONGEST - 1).max(from);
        let open = |at: &usize| {
            let tail = &text[*at..];
            let may = if tail.len() < SHORTEST {
                self.first[usize::from(tail[0])]
            } else {
                self.may_begin(tail)
            };
            may && {
                let behind = self
                    .sorted
                    .partition_point(|needle| self.of(*needle) <= tail);
                let next = self.sorted.get(behind);
                next.is_some_and(|needle| self.of(*needle).starts_with(tail))
            }
        };
        (earliest..text.len()).find(open).unwrap_or(text.len())
    }
}

/// A hash of 32 bits of the first [`SHORTEST`] bytes.
fn hash(text: &[u8]) -> usize {
    let head = u32::from_le_bytes([text[0], text[1], text[2], text[3]]);
    head.wrapping_mul(0x9E37_79B1) as usize
}

#[cfg(test)]
mod tests {
    use super::Needles;

    #[test]
    fn the_longest_needle_counts() {
        let needles = Needles::new(&["abcd", "abcdef", "abcdefgh", "abce", "bcdefghi", "abc"]);
        for (text, want) in [
            ("abcd", Some((0, 4))),
            ("xabcdefg", Some((1, 7))),
            ("abcdeabcdefgh", Some((0, 4))),
            ("abcdefghi", Some((0, 8))),
            ("abcf", None),
            ("abc", None),
            ("", None),
        ] {
            assert_eq!(needles.find(text.as_bytes(), 0), want, "{text}");
        }
        assert_eq!(needles.find(b"abcdefghi", 1), Some((1, 9)));
        for (text, open) in [
            ("x abcd", 2),
            ("x abcdefgh", 3),
            ("x ab", 2),
            ("x abx", 5),
            ("", 0),
        ] {
            assert_eq!(needles.open_end(text.as_bytes(), 0), open, "{text}");
        }
    }
}
