//! Tokens that are in no list of secrets, but known by what stands before them: a word like `glpat-`, or the name of a
//! parameter of a URL. GitLab masks them in its logs.

use std::io::{self, Write};
use std::sync::Arc;

use memchr::memchr2;
use memchr::memmem::Finder;

use crate::secret::{MASK, SHORTEST};

/// What a personal access token of GitLab begins with, whatever a server says.
const PERSONAL: &str = "glpat-";
/// The longest word that is looked for, in bytes: so little of a log is held back.
const LONGEST: usize = 64;
/// The parameters of URLs whose values are masked, whatever the case of their letters.
const PARAMETERS: [&str; 6] = [
    "private_token",
    "authenticity_token",
    "rss_token",
    "x-amz-signature",
    "x-amz-credential",
    "x-amz-security-token",
];
/// How long such a name is at most, in bytes.
const LONGEST_NAME: usize = 20;

/// Replaces tokens by [`MASK`] in a stream. What is before them is shown.
#[derive(Clone, Default)]
pub struct Tokens {
    /// What they begin with. `None`: nothing is looked for, parameters neither.
    words: Option<Arc<[Finder<'static>]>>,
    /// The end of the input so far, if it may be what stands before a token.
    pending: Vec<u8>,
    /// The input so far ends within a token.
    inside: Option<Kind>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Behind a word.
    Token,
    /// The value of a parameter.
    Value,
}

impl Kind {
    /// Whether a byte can belong to it.
    fn has(self, byte: u8) -> bool {
        match self {
            Self::Token => byte.is_ascii_alphanumeric() || b"_-".contains(&byte),
            Self::Value => !byte.is_ascii_whitespace() && !b"&\"'<>`\x1b".contains(&byte),
        }
    }
}

/// What of an input comes before a token.
enum Found {
    /// So many bytes; then a token of this kind begins, if its first byte is there and one of a token.
    Until(usize, Kind),
    /// Only the bytes from here on may be the beginning of what comes before one.
    Held(usize),
}

impl Tokens {
    /// Looks for what GitLab masks, and for what follows these words of a server.
    #[must_use]
    pub fn of_gitlab(words: &[String]) -> Self {
        let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
        words.push(PERSONAL);
        words.retain(|word| (SHORTEST..=LONGEST).contains(&word.len()));
        words.sort_unstable();
        words.dedup();
        let finder = |word: &&str| Finder::new(word.as_bytes()).into_owned();
        Self {
            words: Some(words.iter().map(finder).collect()),
            ..Self::default()
        }
    }

    /// The same, at the beginning of another stream.
    #[must_use]
    pub fn for_another(&self) -> Self {
        Self {
            words: self.words.clone(),
            ..Self::default()
        }
    }

    /// A writer to `out` that leaves tokens out.
    pub fn before<'a>(&'a mut self, out: &'a mut dyn Write) -> impl Write + 'a {
        Before { tokens: self, out }
    }

    fn push(&mut self, bytes: &[u8], out: &mut dyn Write) -> io::Result<()> {
        let Some(words) = self.words.clone() else {
            return out.write_all(bytes);
        };
        let pending = std::mem::take(&mut self.pending);
        let joined;
        let mut rest = if pending.is_empty() {
            bytes
        } else {
            joined = [&pending, bytes].concat();
            &joined
        };
        loop {
            if let Some(kind) = self.inside {
                let Some(end) = rest.iter().position(|byte| !kind.has(*byte)) else {
                    return Ok(());
                };
                rest = &rest[end..];
                self.inside = None;
            }
            match find(&words, rest) {
                Found::Held(from) => {
                    out.write_all(&rest[..from])?;
                    self.pending.extend_from_slice(&rest[from..]);
                    return Ok(());
                }
                Found::Until(end, kind) => {
                    out.write_all(&rest[..end])?;
                    rest = &rest[end..];
                    if rest.first().is_some_and(|byte| kind.has(*byte)) {
                        out.write_all(MASK.as_bytes())?;
                        self.inside = Some(kind);
                    }
                }
            }
        }
    }

    /// Writes the bytes that were held back: they are no beginning of anything.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn finish(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.inside = None;
        out.write_all(&std::mem::take(&mut self.pending))
    }
}

struct Before<'a> {
    tokens: &'a mut Tokens,
    out: &'a mut dyn Write,
}

impl Write for Before<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.tokens.push(bytes, self.out)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// The first place in a text where a token may begin.
fn find(words: &[Finder], text: &[u8]) -> Found {
    let word = words.iter().filter_map(|word| {
        let end = word.find(text)? + word.needle().len();
        // Whether a token follows is seen with the next byte.
        Some((end, (end < text.len()).then_some(Kind::Token)))
    });
    let first = word.chain(parameter(text)).min_by_key(|(end, _)| *end);
    if let Some((end, Some(kind))) = first {
        return Found::Until(end, kind);
    }
    let open = words.iter().filter_map(|word| {
        let longest = word.needle().len().min(text.len());
        let tail = (1..=longest).rev().find(|length| {
            let tail = &text[text.len() - length..];
            word.needle().starts_with(tail)
        })?;
        Some(text.len() - tail)
    });
    Found::Held(open.chain(open_name(text)).min().unwrap_or(text.len()))
}

/// The end of the first `?name=` or `&name=` of a [parameter](PARAMETERS), and what follows if that is there.
fn parameter(text: &[u8]) -> Option<(usize, Option<Kind>)> {
    let mut from = 0;
    while let Some(at) = memchr2(b'?', b'&', &text[from..]) {
        from += at + 1;
        let name = text[from..].iter().take(LONGEST_NAME + 1);
        let length = name.clone().position(|byte| *byte == b'=');
        let is_one = |length: &usize| {
            let name = &text[from..from + length];
            PARAMETERS
                .iter()
                .any(|known| known.as_bytes().eq_ignore_ascii_case(name))
        };
        if let Some(length) = length.filter(is_one) {
            let end = from + length + 1;
            return Some((end, (end < text.len()).then_some(Kind::Value)));
        }
    }
    None
}

/// Where at the end of a text a parameter may begin whose name goes on in the next bytes, or whose value follows.
fn open_name(text: &[u8]) -> Option<usize> {
    let from = text.len().saturating_sub(LONGEST_NAME + 2);
    let at = from + memchr::memrchr2(b'?', b'&', &text[from..])?;
    let name = text[at + 1..].strip_suffix(b"=").unwrap_or(&text[at + 1..]);
    let begins = |known: &&str| {
        let head = known.as_bytes().get(..name.len());
        head.is_some_and(|head| head.eq_ignore_ascii_case(name))
    };
    PARAMETERS.iter().any(begins).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::Tokens;
    use std::io::Write;

    fn masked(words: &[&str], writes: &[&[u8]]) -> String {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let mut tokens = Tokens::of_gitlab(&words);
        let mut out = Vec::new();
        for bytes in writes {
            let written = tokens.before(&mut out).write_all(bytes);
            written.expect("memory");
        }
        tokens.finish(&mut out).expect("memory");
        String::from_utf8(out).expect("UTF-8")
    }

    const TEXT: &str = "a glpat-Ab_1-2 b, acme-x1 and glpat- and acme-\nhttps://h/?x=1&private_token=s3cr3t&y=2 \
        curl 'https://h/?X-Amz-Signature=abc%2F' &rss_token= ?private_tokens=no & glpat-end";
    const WANT: &str = "a glpat-[MASKED] b, acme-[MASKED] and glpat- and acme-\nhttps://h/?x=1&private_token=[MASKED]&y=2 \
        curl 'https://h/?X-Amz-Signature=[MASKED]' &rss_token= ?private_tokens=no & glpat-[MASKED]";

    #[test]
    fn what_follows_a_known_word_or_a_parameters_name_is_masked() {
        assert_eq!(masked(&["acme-"], &[TEXT.as_bytes()]), WANT);
        // The server's words alone, where they are no longer than can be looked for.
        let long = "x".repeat(65);
        let text = format!("acme-x1 {long}y abcz");
        assert_eq!(masked(&[&long, "abc", ""], &[text.as_bytes()]), text);
        assert_eq!(masked(&[], &[b"glpat-1"]), "glpat-[MASKED]");
    }

    #[test]
    fn it_does_not_matter_where_the_output_is_cut() {
        for cut in 0..TEXT.len() {
            let (left, right) = TEXT.as_bytes().split_at(cut);
            assert_eq!(masked(&["acme-"], &[left, right]), WANT, "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = TEXT.as_bytes().chunks(1).collect();
        assert_eq!(masked(&["acme-"], &bytes), WANT);
    }

    #[test]
    fn without_a_server_that_wants_it_nothing_is_touched() {
        let mut tokens = Tokens::default();
        let mut out = Vec::new();
        let written = tokens.before(&mut out).write_all(TEXT.as_bytes());
        written.expect("memory");
        assert_eq!(out, TEXT.as_bytes());
    }
}
