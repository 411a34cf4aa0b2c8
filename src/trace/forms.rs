//! The quoted and encoded forms of a secret that programs print. They are masked like the secret itself.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::secret::{SHORTEST, is_maskable};

/// Shorter forms are not masked: they occur in many words by chance.
const MIN_LENGTH: usize = 6;
/// The line lengths of base64: of `base64` and MIME, and of PEM.
const COLUMNS: [usize; 2] = [76, 64];

/// The shortest line that is masked by itself, of a secret with several lines. In a PEM key, whose lines are no words
/// of any language, it is [`SHORTEST`].
const MIN_LINE_LENGTH: usize = 8;
const NEVER: &[&str] = &["true", "false", "null"];
/// The texts to mask for a secret, without its encoded forms.
pub(super) fn plain(secret: &str) -> Vec<&str> {
    let mut texts = vec![secret, secret.trim()];
    let mut in_key = false;
    if secret.contains('\n') {
        for line in secret.lines().map(str::trim) {
            in_key |= line.starts_with("-----BEGIN ");
            let least = if in_key { SHORTEST } else { MIN_LINE_LENGTH };
            in_key &= !line.starts_with("-----END ");
            texts.extend(Some(line).filter(|line| line.chars().count() >= least));
        }
    }
    texts.retain(|text| is_maskable(text) && !NEVER.contains(text));
    texts
}

/// The forms of a secret that differ from it.
pub(super) fn forms(secret: &str) -> Vec<String> {
    let mut forms = base64(secret.as_bytes());
    forms.extend(percent(secret));
    forms.extend(json(secret));
    forms.extend(shell(secret));
    forms.retain(|form| form.len() >= MIN_LENGTH && form != secret);
    forms
}

/// Base64 encodes three bytes at a time. A text before the secret (`user:`) shifts it by up to two bytes. The first and
/// the last character of the secret's part also depend on the bytes beside it, so they are left out; if nothing follows
/// the secret, its last character is included.
fn base64(secret: &[u8]) -> Vec<String> {
    let mut forms = Vec::new();
    for alphabet in [STANDARD, URL_SAFE] {
        for before in 0..3 {
            let shifted = [&[0; 2][..before], secret].concat();
            let text = alphabet.encode(&shifted);
            let begin = (before * 8).div_ceil(6);
            let followed = shifted.len() * 8 / 6;
            let part = |end: usize| text.get(begin..end).unwrap_or_default().to_owned();
            forms.extend([part(followed), part(text.len())]);
        }
    }
    let text = STANDARD.encode(secret);
    for columns in COLUMNS.into_iter().filter(|columns| *columns < text.len()) {
        let lines: Vec<_> = text.as_bytes().chunks(columns).collect();
        forms.extend(String::from_utf8(lines.join(&b'\n')));
    }
    forms
}

/// Percent encoding by the rules of RFC 3986, of paths, of JavaScript and of HTML forms, with hexadecimal digits in
/// upper and lower case.
fn percent(secret: &str) -> Vec<String> {
    const STRICT: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'_')
        .remove(b'.')
        .remove(b'~');
    const PATH: &AsciiSet = &STRICT.remove(b'/');
    const SCRIPT: &AsciiSet = &STRICT
        .remove(b'!')
        .remove(b'*')
        .remove(b'\'')
        .remove(b'(')
        .remove(b')');
    const FORM: &AsciiSet = &STRICT.add(b'~').remove(b'*');
    let encoded = |set| utf8_percent_encode(secret, set).to_string();
    let mut forms = vec![
        encoded(STRICT),
        encoded(PATH),
        encoded(SCRIPT),
        encoded(STRICT).replace("%20", "+"),
        encoded(FORM).replace("%20", "+"),
    ];
    let lower: Vec<String> = forms.iter().map(|form| lower_digits(form)).collect();
    forms.extend(lower);
    forms
}

fn lower_digits(text: &str) -> String {
    let mut digits = 0;
    let lowered = text.chars().map(|letter| match letter {
        '%' => {
            digits = 2;
            letter
        }
        _ if digits > 0 => {
            digits -= 1;
            letter.to_ascii_lowercase()
        }
        _ => letter,
    });
    lowered.collect()
}

/// Strings of JSON: in the shortest form, and as Go, PHP and Python write them.
fn json(secret: &str) -> Vec<String> {
    let text = serde_json::Value::from(secret).to_string();
    let short = text[1..text.len() - 1].to_owned();
    let escaped = |which: fn(char) -> bool| {
        let mut text = String::new();
        for letter in short.chars() {
            if which(letter) {
                for unit in letter.encode_utf16(&mut [0; 2]) {
                    let _ = write!(text, "\\u{unit:04x}");
                }
            } else {
                text.push(letter);
            }
        }
        text
    };
    vec![
        escaped(|letter| ['<', '>', '&', '\u{2028}', '\u{2029}'].contains(&letter)),
        escaped(|letter| !letter.is_ascii()),
        short.replace('/', "\\/"),
        short,
    ]
}

/// Quoting of shells: as `set -x` and `printf %q` print it, and as people write it.
fn shell(secret: &str) -> Vec<String> {
    let escaped = |which: fn(char) -> bool| -> String {
        let escaped = secret.chars().flat_map(|letter| {
            let backslash = which(letter).then_some('\\');
            backslash.into_iter().chain([letter])
        });
        escaped.collect()
    };
    // bash's `$'…'`.
    let ansi = secret.chars().map(|letter| match letter {
        '\\' => "\\\\".to_owned(),
        '\'' => "\\'".to_owned(),
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '\t' => "\\t".to_owned(),
        '\x07' => "\\a".to_owned(),
        '\x08' => "\\b".to_owned(),
        '\x0b' => "\\v".to_owned(),
        '\x0c' => "\\f".to_owned(),
        '\x1b' => "\\E".to_owned(),
        letter if letter.is_ascii_control() => format!("\\{:03o}", u32::from(letter)),
        letter => letter.to_string(),
    });
    vec![
        secret.replace('\'', r"'\''"),
        secret.replace('\'', r#"'"'"'"#),
        ansi.collect(),
        escaped(|letter| {
            letter.is_ascii_punctuation() && !"%+-./:=@_".contains(letter) || letter == ' '
        }),
        escaped(|letter| ['\\', '"', '$', '`'].contains(&letter)),
    ]
}

#[cfg(test)]
mod tests {
    use super::forms;

    #[test]
    fn forms_are_those_of_the_tools() {
        // As `base64`, `base64 <<<"user:$secret"`, Python's `quote`, JavaScript's `encodeURIComponent`, PHP's and
        // Python's JSON, and bash's `set -x` and `printf %q` show it.
        let secret = "it's a \"secr€t\"/<&>$x";
        let forms = forms(secret);
        for want in [
            "aXQncyBhICJzZWNy4oKsdCIvPCY+JHg=",
            "aXQncyBhICJzZWNy4oKsdCIvPCY-JHg=",
            "l0J3MgYSAic2VjcuKCrHQiLzwmPiR4",
            "pdCdzIGEgInNlY3Ligqx0Ii88Jj4keA==",
            "it%27s%20a%20%22secr%E2%82%ACt%22/%3C%26%3E%24x",
            "it's%20a%20%22secr%E2%82%ACt%22%2F%3C%26%3E%24x",
            "it%27s+a+%22secr%e2%82%act%22%2f%3c%26%3e%24x",
            r#"it's a \"secr€t\"\/<&>$x"#,
            r#"it's a \"secr\u20act\"/<&>$x"#,
            r#"it's a \"secr€t\"/\u003c\u0026\u003e$x"#,
            r#"it'\''s a "secr€t"/<&>$x"#,
            r#"it\'s\ a\ \"secr€t\"/\<\&\>\$x"#,
        ] {
            assert!(
                forms.iter().any(|form| form == want),
                "{want} in {forms:#?}"
            );
        }
        // What no program has to quote has no forms but base64.
        let plain = super::forms("plain_word-1.2~3");
        let left: Vec<_> = plain.iter().filter(|form| form.contains("plain")).collect();
        assert_eq!(
            left,
            [
                "plain_word-1.2%7E3",
                "plain_word-1.2%7e3",
                r"plain_word-1.2\~3"
            ]
        );
    }
}
