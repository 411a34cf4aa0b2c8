//! Masks secrets in a stream, even if a secret is split over two writes or contains changes of colour.
//!
//! Every byte of a secret is masked, also where secrets overlap. Very long secrets are masked by pieces of 64 bytes: so
//! little output has to be held back, and a secret that is cut short is masked too.

use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::Arc;

use super::forms::{forms, plain};
use super::needles::Needles;
use super::sequences::visible;
use super::tokens::Tokens;
use crate::secret::{MASK, Secret};

/// How much memory the encoded forms of secrets may take, in bytes. The shortest secrets come first: passwords and keys
/// are printed in encoded forms, files hardly ever.
const MOST_FORMS: usize = 2 << 20;

/// Replaces secrets by [`MASK`] in a stream. Values of less than 4 characters are not masked: AlloyCI marks every
/// variable of a project as secret, and a log without all these values would be unreadable.
pub struct Masker {
    needles: Arc<Needles>,
    /// The end of the input so far, if it may be the beginning of a secret or of an escape sequence.
    pending: Vec<u8>,
    /// If a mask was written last: how many bytes of `pending` it covers too.
    covered: Option<usize>,
    /// Leaves out what is in no list.
    tokens: Tokens,
}

impl Masker {
    /// Makes a masker for these secrets. Values of less than 4 characters, `true`, `false` and `null` are not masked.
    #[must_use]
    pub fn new(secrets: &[Secret]) -> Self {
        let mut secrets: Vec<&str> = secrets.iter().map(Secret::expose).collect();
        secrets.sort_by_key(|secret| (secret.len(), *secret));
        secrets.dedup();
        let mut texts: Vec<Cow<str>> = Vec::new();
        let mut room = MOST_FORMS;
        for secret in secrets {
            texts.extend(plain(secret).into_iter().map(Cow::from));
            let secret = secret.trim();
            // An encoded form has up to three characters for each byte.
            if plain(secret).is_empty() || secret.len() > room {
                continue;
            }
            let mut forms = forms(secret);
            forms.sort();
            forms.dedup();
            let size: usize = forms.iter().map(String::len).sum();
            room = room.saturating_sub(size);
            texts.extend(forms.into_iter().map(Cow::from));
        }
        let texts: Vec<Vec<u8>> = texts
            .iter()
            .map(|text| visible(text.as_bytes()).text.into_owned())
            .collect();
        Self {
            needles: Arc::new(Needles::new(&texts)),
            pending: Vec::new(),
            covered: None,
            tokens: Tokens::default(),
        }
    }

    /// Masks these tokens too.
    #[must_use]
    pub fn with_tokens(mut self, tokens: &Tokens) -> Self {
        self.tokens = tokens.for_another();
        self
    }

    /// A masker of the same secrets, for another stream.
    #[must_use]
    pub fn for_another(&self) -> Self {
        Self {
            needles: self.needles.clone(),
            pending: Vec::new(),
            covered: None,
            tokens: self.tokens.for_another(),
        }
    }

    /// Masks a complete text.
    #[must_use]
    pub fn masked(&self, text: &str) -> String {
        let mut shown = Vec::with_capacity(text.len());
        let mut masker = self.for_another();
        // Writing to memory cannot fail.
        let pushed = masker.push(text.as_bytes(), &mut shown);
        let written = pushed.and_then(|()| masker.finish(&mut shown));
        debug_assert!(written.is_ok());
        String::from_utf8_lossy(&shown).into_owned()
    }

    /// Takes the next bytes, and writes all that cannot be part of a secret that goes on in the next ones.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn push(&mut self, bytes: &[u8], out: &mut dyn Write) -> io::Result<()> {
        let mut out = self.tokens.before(out);
        if self.needles.is_empty() {
            return out.write_all(bytes);
        }
        let held = std::mem::take(&mut self.pending);
        let text: Cow<[u8]> = match &held[..] {
            [] => bytes.into(),
            held => [held, bytes].concat().into(),
        };
        let (done, covered) = replace(&self.needles, &text, false, self.covered, &mut out)?;
        self.pending.extend_from_slice(&text[done..]);
        self.covered = covered;
        Ok(())
    }

    /// Writes the bytes that were held back.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn finish(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let pending = std::mem::take(&mut self.pending);
        let (covered, mut rest) = (self.covered.take(), self.tokens.before(out));
        replace(&self.needles, &pending, true, covered, &mut rest)?;
        drop(rest);
        self.tokens.finish(out)
    }
}

/// Writes a text with its secrets masked: all of it if it is `whole`, else up to the beginning of a possible secret
/// that goes on in the next write. `covered` is [`Masker::covered`] for this text. Returns how many bytes were written,
/// and [`Masker::covered`] for the rest.
fn replace(
    needles: &Needles,
    bytes: &[u8],
    whole: bool,
    covered: Option<usize>,
    out: &mut dyn Write,
) -> io::Result<(usize, Option<usize>)> {
    let seen = visible(bytes);
    let hold = if whole {
        seen.text.len()
    } else {
        needles.open_end(&seen.text, 0)
    };
    let mut cursor = Cursor {
        bytes,
        sequences: seen.sequences.iter().copied().peekable(),
        seen: 0,
        done: 0,
    };
    let mut covered = covered;
    let mut from = 0;
    while let Some((begin, end)) = needles.find(&seen.text, from)
        && begin < hold
    {
        from = begin + 1;
        match &mut covered {
            Some(until) if begin <= *until => *until = end.max(*until),
            _ => {
                cursor.pass(covered.unwrap_or(0), false, out)?;
                cursor.pass(begin, true, out)?;
                out.write_all(MASK.as_bytes())?;
                covered = Some(end);
            }
        }
    }
    let until = covered.unwrap_or(0);
    cursor.pass(until.min(hold), false, out)?;
    cursor.pass(hold, true, out)?;
    if whole {
        out.write_all(&bytes[cursor.done..])?;
        return Ok((bytes.len(), None));
    }
    let covered = covered.and_then(|until| until.checked_sub(hold));
    Ok((cursor.done, covered))
}

/// A place in a text with escape sequences, and the same place in its visible part.
struct Cursor<'a, I: Iterator<Item = (usize, usize)>> {
    bytes: &'a [u8],
    sequences: std::iter::Peekable<I>,
    seen: usize,
    done: usize,
}

impl<I: Iterator<Item = (usize, usize)>> Cursor<'_, I> {
    /// Advances to a place in the visible part. Writes the escape sequences before it, and the text too if `show`.
    fn pass(&mut self, to: usize, show: bool, out: &mut dyn Write) -> io::Result<()> {
        while let Some((at, length)) = self.sequences.next_if(|(at, _)| *at <= to) {
            self.text(at, show, out)?;
            out.write_all(&self.bytes[self.done..self.done + length])?;
            self.done += length;
        }
        self.text(to, show, out)
    }

    fn text(&mut self, to: usize, show: bool, out: &mut dyn Write) -> io::Result<()> {
        let length = to.saturating_sub(self.seen);
        if show {
            out.write_all(&self.bytes[self.done..self.done + length])?;
        }
        self.seen += length;
        self.done += length;
        Ok(())
    }
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

    #[test]
    fn masks_what_programs_make_of_a_secret() {
        let secret = "hunter2's \"word\"";
        for shown in [
            // base64 of it, of `user:` and it, and of `me:` and it with a line break behind.
            "aHVudGVyMidzICJ3b3JkIg==",
            "dXNlcjpodW50ZXIyJ3MgIndvcmQi",
            "bWU6aHVudGVyMidzICJ3b3JkIgo=",
            "hunter2%27s%20%22word%22",
            "hunter2%27s+%22word%22",
            r#"hunter2's \"word\""#,
            r#"hunter2'\''s "word""#,
            r#"hunter2\'s\ \"word\""#,
        ] {
            let log = masked(&[secret], &[format!("<{shown}>").as_bytes()]);
            // What shares a character with it is left.
            let rest: String = log.replace("[MASKED]", "");
            assert!(
                log.contains("[MASKED]") && rest.len() <= 10,
                "{shown}: {log}"
            );
            assert!(
                !rest.contains("unter") && !rest.contains("dW50"),
                "{shown}: {log}"
            );
        }
    }

    #[test]
    fn masks_a_secret_with_colours_in_it() {
        let text = b"a \x1b[1mhun\x1b[01;31m\x1b[Kter2\x1b[0m b \x1b[";
        let want = "a \x1b[1m[MASKED]\x1b[01;31m\x1b[K\x1b[0m b \x1b[";
        for cut in 0..text.len() {
            let (left, right) = text.split_at(cut);
            assert_eq!(masked(&["hunter2"], &[left, right]), want, "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(masked(&["hunter2"], &bytes), want);
        assert_eq!(
            masked(&["\x1b[1mhunter2"], &[b"\x1b[1mhunter2"]),
            "\x1b[1m[MASKED]"
        );
        assert_eq!(
            masked(&["hunter2"], &[b"\x1b", b"x\x1b[999", b"\n"]),
            "\x1bx\x1b[999\n"
        );
    }

    #[test]
    fn masks_what_overlaps_and_pieces_of_what_is_long() {
        assert_eq!(
            masked(&["abcdef", "defghi"], &[b"xabcdefghix"]),
            "x[MASKED]x"
        );
        let long: String = (1000..2000)
            .flat_map(|number: u32| number.to_string().into_bytes())
            .map(char::from)
            .collect();
        let bytes: Vec<&[u8]> = long.as_bytes().chunks(7).collect();
        assert_eq!(masked(&[&long], &bytes), "[MASKED]");
        let shown = masked(&[&long], &[b"<", &long.as_bytes()[..1000], b">"]);
        assert_eq!(
            shown.replace("[MASKED]", "").len(),
            2 + 1000 % 64,
            "{shown}"
        );
    }

    #[test]
    fn masks_the_short_lines_of_a_key() {
        let key = "-----BEGIN KEY-----\nabcdefghij\nQw==\n-----END KEY-----\nword\n";
        assert_eq!(masked(&[key], &[b"Qw== word"]), "[MASKED] word");
    }

    /// What a stream is masked to does not depend on how it is torn, and no byte of a secret is left.
    #[test]
    fn tears_change_nothing() {
        let mut random = fastrand::Rng::with_seed(7);
        for round in 0..60 {
            let letters = |random: &mut fastrand::Rng, most: usize| -> String {
                let length = random.usize(4..most);
                (0..length)
                    .map(|_| *random.choice(&['a', 'b', 'a', 'c']).expect("one"))
                    .collect()
            };
            let secrets: Vec<String> = (0..4).map(|_| letters(&mut random, 600)).collect();
            let mut text = String::new();
            for _ in 0..20 {
                text += &letters(&mut random, 12);
                text += &secrets[random.usize(0..4)];
                text += ["", "\x1b[31m", "\n", "\x1b"][random.usize(0..4)];
            }
            let names: Vec<&str> = secrets.iter().map(String::as_str).collect();
            let whole = masked(&names, &[text.as_bytes()]);
            let mut rest = text.as_bytes();
            let mut writes = Vec::new();
            while !rest.is_empty() {
                let (write, behind) = rest.split_at(random.usize(1..=rest.len().min(40)));
                writes.push(write);
                rest = behind;
            }
            assert_eq!(masked(&names, &writes), whole, "round {round}");
            for secret in &secrets {
                assert!(!whole.contains(secret), "round {round}");
            }
        }
    }

    /// How long this thread has had a processor, in milliseconds.
    fn processor_time() -> u64 {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("there");
        let nanoseconds: u64 = text
            .split(' ')
            .next()
            .expect("one")
            .parse()
            .expect("a number");
        nanoseconds / 1_000_000
    }

    /// Nine secrets of 100 kB that are alike up to their last byte, and a log that seems to become one all the time.
    #[test]
    fn long_secrets_that_are_alike_take_no_time() {
        let secrets: Vec<String> = (0..9)
            .map(|number| format!("{}{number}", "a".repeat(100_000)))
            .collect();
        let secrets: Vec<Secret> = secrets.into_iter().map(Secret::new).collect();
        let mut masker = Masker::new(&secrets);
        let before = processor_time();
        let line = "a".repeat(99).into_bytes();
        for text in ["a", "ab", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"] {
            let line: Vec<u8> = text.bytes().cycle().take(99).chain([b'\n']).collect();
            for _ in 0..5000 {
                masker.push(&line, &mut std::io::sink()).expect("memory");
            }
        }
        for _ in 0..5000 {
            masker.push(&line, &mut std::io::sink()).expect("memory");
        }
        // It is milliseconds of a shipped executable; of a search that is not linear, minutes.
        let took = processor_time() - before;
        assert!(took < 10_000, "{took} ms");
    }
}
