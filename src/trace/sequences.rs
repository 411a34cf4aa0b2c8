//! Sequences for a terminal: changes of colour and the like, which tear what is seen as one text.

use std::borrow::Cow;

/// No change of colour is longer, in bytes.
const LONGEST: usize = 64;

/// What of a text is seen, and where sequences for a terminal stand in it.
pub(super) struct Visible<'a> {
    /// The text without them.
    pub text: Cow<'a, [u8]>,
    /// Where in `text` each sequence stands, and how long it is. One whose end has not come is neither there nor here.
    pub sequences: Vec<(usize, usize)>,
}

/// Takes the sequences out that set colours and the like (ECMA-48, CSI).
pub(super) fn visible(bytes: &[u8]) -> Visible<'_> {
    let mut text = Vec::new();
    let mut sequences = Vec::new();
    let mut from = 0;
    for at in memchr::memchr_iter(0x1b, bytes) {
        if at < from {
            continue;
        }
        match sequence(&bytes[at..]) {
            Sequence::Whole(length) => {
                text.extend_from_slice(&bytes[from..at]);
                sequences.push((text.len(), length));
                from = at + length;
            }
            Sequence::Open => {
                text.extend_from_slice(&bytes[from..at]);
                return Visible {
                    text: Cow::Owned(text),
                    sequences,
                };
            }
            Sequence::Other => {}
        }
    }
    if sequences.is_empty() {
        return Visible {
            text: Cow::Borrowed(bytes),
            sequences,
        };
    }
    text.extend_from_slice(&bytes[from..]);
    Visible {
        text: Cow::Owned(text),
        sequences,
    }
}

enum Sequence {
    /// One of this length.
    Whole(usize),
    /// It may become one.
    Open,
    Other,
}

/// What begins with ESC.
fn sequence(bytes: &[u8]) -> Sequence {
    if bytes.get(1).is_some_and(|byte| *byte != b'[') {
        return Sequence::Other;
    }
    let body = bytes.get(2..).unwrap_or_default();
    let parameters = body
        .iter()
        .take(LONGEST)
        .take_while(|byte| matches!(byte, 0x20..=0x3f));
    match (parameters.count(), body) {
        (length, _) if length >= LONGEST => Sequence::Other,
        (length, body) => match body.get(length) {
            None => Sequence::Open,
            Some(0x40..=0x7e) => Sequence::Whole(length + 3),
            Some(_) => Sequence::Other,
        },
    }
}
