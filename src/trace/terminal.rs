//! Filters a job's output for the terminal of the person who reads it.
//!
//! Escape sequences can make a terminal fill the clipboard, change its title or its keys, send input as if the person
//! had typed it, or show another screen. So only a short list passes: text, line feeds, carriage returns, tabs, colours
//! (`ESC [ … m`), and erasing the rest of a line (`ESC [ … K`). Everything else is dropped.

/// The longest sequence that passes, in bytes.
const LONGEST: usize = 64;

const ESC: u8 = 0x1b;
const BEL: u8 = 0x07;
const DEL: u8 = 0x7f;
/// Cancel and substitute, which end any sequence.
const CAN: u8 = 0x18;
const SUB: u8 = 0x1a;
/// The first byte of the control characters U+0080 to U+009F (C1) in UTF-8.
const LEAD_OF_C1: u8 = 0xc2;

/// A filter for one stream of output, which may be split anywhere.
#[derive(Debug, Default)]
pub struct Filter {
    /// Whether lines may be overwritten. Lines with the name of their job in front may not.
    erases: bool,
    state: State,
    /// How many more bytes the current character has.
    following: u8,
    /// The parameters of the current sequence.
    sequence: Vec<u8>,
    /// Whether the output so far has left a colour set.
    coloured: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    /// After the first byte of a C1 control character, or of a letter.
    LeadOfC1,
    /// After ESC.
    Escape,
    /// In a sequence of ESC and intermediate bytes, which ends with a letter.
    Intermediate,
    /// In the parameters of a control sequence.
    Control,
    /// In the parameters of a control sequence that is dropped.
    Refused,
    /// In a command string: a title, or text for the clipboard.
    Command,
    /// In a command string, after the first byte of a C1 control character.
    CommandLead,
    /// In a command string, after ESC.
    CommandEscape,
}

impl Filter {
    /// Makes a filter for output that is shown as it is (`erases`), or in lines with a prefix of the runner's own.
    #[must_use]
    pub fn new(erases: bool) -> Self {
        Self {
            erases,
            ..Self::default()
        }
    }

    /// Appends the part of the next bytes that passes to `out`.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let mut rest = bytes;
        while let Some((first, more)) = rest.split_first() {
            if self.state == State::Text && self.following == 0 {
                let plain = rest.iter().position(|byte| !is_plain(*byte));
                let (text, special) = rest.split_at(plain.unwrap_or(rest.len()));
                out.extend_from_slice(text);
                rest = special;
                if !text.is_empty() {
                    continue;
                }
            }
            self.byte(*first, out);
            rest = more;
        }
    }

    /// Ends the stream: resets the colour, if the output left one set.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.state == State::LeadOfC1 {
            out.push(LEAD_OF_C1);
        }
        if self.coloured {
            out.extend_from_slice(b"\x1b[0m");
        }
        *self = Self::new(self.erases);
    }

    fn byte(&mut self, byte: u8, out: &mut Vec<u8>) {
        // A sequence ends at the end of its line: one that is never ended must not hide the rest of the output.
        if byte == b'\n' || matches!(byte, CAN | SUB) {
            self.state = State::Text;
        }
        self.state = match self.state {
            State::Text => self.text(byte, out),
            State::LeadOfC1 if (0x80..0xa0).contains(&byte) => self.c1(byte),
            State::LeadOfC1 => {
                out.push(LEAD_OF_C1);
                self.following = 1;
                self.text(byte, out)
            }
            State::Escape | State::Intermediate => match byte {
                ESC => State::Escape,
                b' '..=b'/' => State::Intermediate,
                _ if self.state == State::Intermediate => State::Text,
                // A C1 control character in its 7-bit form.
                b'@'..=b'_' => self.c1(byte + 0x40),
                _ if !(b' '..0x80).contains(&byte) => self.text(byte, out),
                _ => State::Text,
            },
            State::Control => self.control(byte, out),
            State::Refused => match byte {
                ESC => State::Escape,
                b' '..=b'?' => State::Refused,
                _ => State::Text,
            },
            State::Command => match byte {
                BEL => State::Text,
                ESC => State::CommandEscape,
                LEAD_OF_C1 => State::CommandLead,
                _ => State::Command,
            },
            State::CommandLead if byte == 0x9c => State::Text,
            State::CommandLead if byte == ESC => State::CommandEscape,
            State::CommandLead => State::Command,
            State::CommandEscape => match byte {
                b'\\' => State::Text,
                // Another sequence ends it, too.
                b'@'..=b'_' => self.c1(byte + 0x40),
                ESC => State::CommandEscape,
                _ => State::Command,
            },
        };
    }

    fn text(&mut self, byte: u8, out: &mut Vec<u8>) -> State {
        let following = std::mem::take(&mut self.following);
        match byte {
            ESC => return State::Escape,
            0x80..0xa0 if following == 0 => return self.c1(byte),
            0x80..0xc0 => {
                self.following = following.saturating_sub(1);
                out.push(byte);
            }
            LEAD_OF_C1 => return State::LeadOfC1,
            // Overlong encodings, which can hide a control character.
            0xc0 | 0xc1 => {}
            0xc3..0xe0 => self.lead(1, byte, out),
            0xe0..0xf0 => self.lead(2, byte, out),
            0xf0..0xf8 => self.lead(3, byte, out),
            _ if is_plain(byte) || byte > 0xf7 => out.push(byte),
            _ => {}
        }
        State::Text
    }

    fn lead(&mut self, following: u8, byte: u8, out: &mut Vec<u8>) {
        self.following = following;
        out.push(byte);
    }

    /// The state after a C1 control character.
    fn c1(&mut self, byte: u8) -> State {
        match byte {
            0x9b => {
                self.sequence.clear();
                State::Control
            }
            // DCS, SOS, OSC, PM, APC.
            0x90 | 0x98 | 0x9d..=0x9f => State::Command,
            _ => State::Text,
        }
    }

    fn control(&mut self, byte: u8, out: &mut Vec<u8>) -> State {
        match byte {
            ESC => return State::Escape,
            b'0'..=b'9' | b';' | b':' if self.sequence.len() < LONGEST => {
                self.sequence.push(byte);
                return State::Control;
            }
            b' '..=b'?' => return State::Refused,
            b'm' if is_visible(&self.sequence) => {
                self.coloured = !matches!(&self.sequence[..], b"" | b"0");
                self.pass(byte, out);
            }
            b'K' if self.erases => self.pass(byte, out),
            _ if !(b' '..0x80).contains(&byte) => return self.text(byte, out),
            _ => {}
        }
        State::Text
    }

    fn pass(&mut self, end: u8, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\x1b[");
        out.extend_from_slice(&self.sequence);
        out.push(end);
    }
}

/// Whether a byte is printable ASCII or harmless white space.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b'\t' | b'\n' | b'\r' | b' '..DEL)
}

/// Whether text with these colour parameters is visible: 8 hides it, which could hide lines of the runner's own. After
/// 38, 48 and 58, an 8 is part of a colour.
fn is_visible(parameters: &[u8]) -> bool {
    let mut numbers = parameters.split(|byte| *byte == b';').map(|number| {
        let first = number.split(|byte| *byte == b':').next();
        let zeros = number.iter().take_while(|byte| **byte == b'0').count();
        first.unwrap_or_default().get(zeros..).unwrap_or_default()
    });
    while let Some(number) = numbers.next() {
        let of_a_colour = match number {
            b"8" => return false,
            b"38" | b"48" | b"58" => numbers.next(),
            _ => continue,
        };
        let components = match of_a_colour {
            Some(b"5") => 1,
            Some(b"2") => 3,
            None => 0,
            Some(_) => return false,
        };
        numbers.by_ref().take(components).for_each(drop);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::Filter;
    use proptest::collection::vec;
    use proptest::prelude::{Strategy, any};
    use proptest::prop_oneof;
    use proptest::test_runner::{Config, TestRunner};

    fn shown(erases: bool, pieces: &[&[u8]]) -> Vec<u8> {
        let mut filter = Filter::new(erases);
        let mut out = Vec::new();
        for piece in pieces {
            filter.push(piece, &mut out);
        }
        filter.finish(&mut out);
        out
    }

    #[test]
    fn what_passes_and_what_does_not() {
        for (text, want) in [
            ("plain\ttext\r\n", "plain\ttext\r\n"),
            ("größer → 日本 🦀 \u{a0}", "größer → 日本 🦀 \u{a0}"),
            ("\x1b[1;31mred\x1b[0m", "\x1b[1;31mred\x1b[0m"),
            ("\x1b[38;5;8mgrey\x1b[m", "\x1b[38;5;8mgrey\x1b[m"),
            ("\x1b[38;2;8;8;8mgrey\x1b[m", "\x1b[38;2;8;8;8mgrey\x1b[m"),
            ("10%\r\x1b[K20%", "10%\r\x1b[K20%"),
            // A colour ends with the log.
            ("\x1b[31mred", "\x1b[31mred\x1b[0m"),
            // What hides the next lines.
            ("\x1b[8ma\x1b[1;08mb\x1b[38;8mc\x1b[8:1md", "abcd"),
            // The clipboard, the title, a link, an unended one.
            ("a\x1b]52;c;ZXZpbA==\x07b", "ab"),
            ("a\x1b]0;title\x1b\\b", "ab"),
            ("a\u{9d}0;title\u{9c}b", "ab"),
            ("a\x1b]0;title\nb", "a\nb"),
            (
                "a\x1bPq#0\x1b\\b\x1b_x\x1b\\c\x1b^x\x1b\\d\x1bXx\x1b\\e",
                "abcde",
            ),
            // Another screen, questions, reset, the cursor, keys, character sets.
            (
                "a\x1b[?1049hb\x1b[cc\x1b[6nd\x1bce\x1b[2Jf\x1b[Hg\x1b[1Ah",
                "abcdefgh",
            ),
            (
                "a\x1b[>4;2mb\x1b[?4mc\x1b(0d\x1b#8e\x1b[!pf\x1b[ qg",
                "abcdefg",
            ),
            ("a\u{9b}2Jb\u{85}c\x07d\x08e\x7ff\x0eg", "abcdefg"),
            // One that begins in another.
            ("a\x1b[3\x1b[31mb\x1b[0m", "a\x1b[31mb\x1b[0m"),
            ("a\x1b]0;x\x1b[31mb\x1b[0m", "a\x1b[31mb\x1b[0m"),
        ] {
            let out = shown(true, &[text.as_bytes()]);
            assert_eq!(String::from_utf8_lossy(&out), want, "{text:?}");
        }
        assert_eq!(shown(false, &[b"a\x1b[2Kb"]), b"ab", "behind a name");
        assert_eq!(
            shown(true, &[b"a\x9b2Jb\xc0\x9b2Jc"]),
            b"abc",
            "in eight bits"
        );
    }

    /// What a terminal does is left out of a text: of what may pass, nothing is over then.
    fn is_harmless(text: &[u8]) -> bool {
        let mut rest = text;
        while let Some(at) = rest.iter().position(|byte| *byte == 0x1b) {
            let (before, sequence) = rest.split_at(at);
            let parameters = sequence.strip_prefix(b"\x1b[").unwrap_or_default();
            let of_one = |byte: &u8| byte.is_ascii_digit() || b";:".contains(byte);
            let end = parameters.iter().position(|byte| !of_one(byte));
            let Some(end) = end.filter(|end| b"mK".contains(&parameters[*end])) else {
                return false;
            };
            if !is_text(before) {
                return false;
            }
            rest = &parameters[end + 1..];
        }
        is_text(rest)
    }

    fn is_text(text: &[u8]) -> bool {
        String::from_utf8_lossy(text)
            .chars()
            .all(|c| !c.is_control() || "\t\r\n".contains(c))
    }

    const PARTS: &[&[u8]] = &[
        b"\x1b[",
        b"\x1b]",
        b"\x1b\\",
        b"\x1b",
        b"\xc2",
        b"\x9b",
        b"\xe2\x86",
        b"\x92",
        b"0;52;c",
        b"38;5;8",
        b"m",
        b"K",
        b"?",
        b"\x07",
        b"\n",
    ];

    #[test]
    fn nothing_else_passes_however_the_output_is_cut() {
        let part = prop_oneof![
            (0..PARTS.len()).prop_map(|index| PARTS[index].to_vec()),
            vec(any::<u8>(), 0..4),
        ];
        let cases = vec((part, any::<bool>()), 0..40);
        let mut runner = TestRunner::new_with_rng(
            Config::with_cases(20_000),
            TestRunner::deterministic().new_rng(),
        );
        let result = runner.run(&cases, |parts| {
            let whole: Vec<u8> = parts.iter().flat_map(|(part, _)| part.clone()).collect();
            let mut pieces = vec![Vec::new()];
            for (part, cut) in &parts {
                for byte in part {
                    pieces.last_mut().expect("one").push(*byte);
                    if *cut {
                        pieces.push(Vec::new());
                    }
                }
            }
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            for erases in [true, false] {
                let out = shown(erases, &[&whole]);
                assert_eq!(shown(erases, &pieces), out, "{whole:?}");
                assert!(is_harmless(&out), "{whole:?}: {out:?}");
            }
            Ok(())
        });
        result.expect("nothing passes");
    }
}
