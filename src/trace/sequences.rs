//! Escape sequences of a terminal within a text: a secret with a change of colour in it is still seen as the secret.

use std::borrow::Cow;

/// The longest sequence that is recognized, in bytes.
const LONGEST: usize = 64;

/// The visible part of a text, and the escape sequences in it.
pub(super) struct Visible<'a> {
    /// The text without the sequences.
    pub text: Cow<'a, [u8]>,
    /// The place in `text` and the length of each sequence. An incomplete one at the end is neither here nor in `text`.
    pub sequences: Vec<(usize, usize)>,
}

/// Separates a text from its control sequences (ECMA-48, CSI), which set colours and the like.
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
    /// A complete sequence of this length.
    Whole(usize),
    /// The beginning of a sequence.
    Open,
    Other,
}

/// Recognizes a sequence at the beginning of `bytes`, which is an ESC.
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
