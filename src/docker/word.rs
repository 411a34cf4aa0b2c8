//! Words of a command line that may have holes.
//!
//! A plan speaks of things that only the engine knows, the id of an image for example. Where such a thing
//! belongs, a word has a [`Slot`]: the interpreter binds it to a value, the printed script has a shell
//! variable of the same name. So it has for a secret, which only a standard input gets.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use crate::outcome::misleads;
use crate::secret::Secret;

/// A hole in a [`Word`]; its name can stand as a shell variable.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot(Cow<'static, str>);

impl Slot {
    /// A slot of this name: letters, digits and underscores, no digit first.
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        Self(name.into())
    }

    /// The name, without a `$`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }
}

/// What the slots stand for, as far as it is known.
pub type Bindings = BTreeMap<Slot, String>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Literal(String),
    Slot(Slot),
    /// What is printed as a variable of this name.
    Secret(Slot, Secret),
}

/// A text with slots. `Display` is the word as a POSIX shell reads it: literals quoted, slots as `"$name"`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Word(pub(super) Vec<Piece>);

impl Word {
    /// This word with more text behind it.
    #[must_use]
    pub fn then(mut self, more: impl Into<Word>) -> Self {
        for piece in more.into().0 {
            match (self.0.last_mut(), piece) {
                (Some(Piece::Literal(end)), Piece::Literal(text)) => end.push_str(&text),
                (_, piece) => self.0.push(piece),
            }
        }
        self
    }

    /// A value that is printed as a variable of this name, whatever is done with the word.
    pub fn secret(name: impl Into<Cow<'static, str>>, value: &Secret) -> Self {
        Self(vec![Piece::Secret(Slot::new(name), value.clone())])
    }

    /// The text with every slot replaced, for an argument.
    ///
    /// # Errors
    /// The first slot that has no value, or is a secret's.
    pub fn bind(&self, bindings: &Bindings) -> Result<String, Slot> {
        self.text(bindings, |_| None)
    }

    /// The text with its secrets, for a standard input.
    ///
    /// # Errors
    /// The first slot that has no value.
    pub fn expose(&self, bindings: &Bindings) -> Result<String, Slot> {
        self.text(bindings, |secret| Some(secret.expose()))
    }

    fn text<'t>(
        &'t self,
        bindings: &'t Bindings,
        secret: impl Fn(&'t Secret) -> Option<&'t str>,
    ) -> Result<String, Slot> {
        self.0
            .iter()
            .map(|piece| match piece {
                Piece::Literal(text) => Ok(text.as_str()),
                Piece::Slot(slot) => bindings
                    .get(slot)
                    .map(String::as_str)
                    .ok_or_else(|| slot.clone()),
                Piece::Secret(slot, value) => secret(value).ok_or_else(|| slot.clone()),
            })
            .collect()
    }

    /// The names of its secrets.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Secret(slot, _) => Some(slot.name()),
            _ => None,
        })
    }

    /// The text of a word that has no slots left, as a plan's own names have none where it runs; nothing of another.
    #[must_use]
    pub fn plain(&self) -> String {
        self.bind(&Bindings::new()).unwrap_or_default()
    }

    /// How many bytes are known of it.
    pub(super) fn length(&self) -> usize {
        let pieces = self.0.iter().map(|piece| match piece {
            Piece::Literal(text) => text.len(),
            Piece::Slot(_) | Piece::Secret(..) => 0,
        });
        pieces.sum()
    }

    /// This word with its known slots filled in; unknown ones stay.
    #[must_use]
    pub fn filled(&self, bindings: &Bindings) -> Word {
        self.0
            .iter()
            .fold(Word::default(), |word, piece| match piece {
                Piece::Literal(text) => word.then(text.as_str()),
                Piece::Slot(slot) => match bindings.get(slot) {
                    Some(value) => word.then(value.as_str()),
                    None => word.then(slot.clone()),
                },
                Piece::Secret(..) => word.then(Word(vec![piece.clone()])),
            })
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("''");
        }
        for piece in &self.0 {
            match piece {
                // `quoted` fails for NUL alone, which no argument can hold: starting the command says so.
                Piece::Literal(text) => f.write_str(&quoted(text))?,
                Piece::Slot(slot) | Piece::Secret(slot, _) => {
                    write!(f, "\"${{{}}}\"", slot.name())?;
                }
            }
        }
        Ok(())
    }
}

/// A text as one word of a POSIX shell.
fn quoted(text: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=,@%+".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return Cow::Borrowed(text);
    }
    if text.is_empty() {
        return Cow::Borrowed("''");
    }
    let mut word = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let shown = &rest[..rest.find(is_hidden).unwrap_or(rest.len())];
        if !shown.is_empty() {
            let _ = write!(word, "'{}'", shown.replace('\'', r"'\''"));
        }
        rest = &rest[shown.len()..];
        let hidden = &rest[..rest.find(|c| !is_hidden(c)).unwrap_or(rest.len())];
        if !hidden.is_empty() {
            // Octal numbers are what every shell's printf has.
            word.push_str("\"$(printf '");
            for byte in hidden.bytes() {
                let _ = write!(word, "\\{byte:03o}");
            }
            word.push_str("')\"");
        }
        rest = &rest[hidden.len()..];
    }
    Cow::Owned(word)
}

/// Whether a character is not shown as it is, for it would lead a terminal astray. Line breaks are.
pub(super) fn is_hidden(c: char) -> bool {
    c != '\n' && misleads(c)
}

impl From<&str> for Word {
    fn from(text: &str) -> Self {
        Self(vec![Piece::Literal(text.to_owned())])
    }
}

impl From<String> for Word {
    fn from(text: String) -> Self {
        Self(vec![Piece::Literal(text)])
    }
}

impl From<&String> for Word {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<Slot> for Word {
    fn from(slot: Slot) -> Self {
        Self(vec![Piece::Slot(slot)])
    }
}

impl From<&Word> for Word {
    fn from(word: &Word) -> Self {
        word.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::{Bindings, Slot, Word};
    use crate::secret::Secret;

    #[test]
    fn prints_literals_quoted_and_slots_as_variables() {
        let word = Word::from(Slot::new("prefix")).then("-it's $HOME");
        assert_eq!(word.to_string(), r#""${prefix}"'-it'\''s $HOME'"#);
        assert_eq!(Word::from("").to_string(), "''");
        assert_eq!(Word::from("--name=a:b").to_string(), "--name=a:b");
        assert_eq!(
            Word::from("\u{1b}[2J'\n\u{85}").to_string(),
            "\"$(printf '\\033')\"'[2J'\\''\n'\"$(printf '\\302\\205')\""
        );
    }

    #[test]
    fn a_secret_is_for_standard_input_alone() {
        let word = Word::from("T=")
            .then(Word::secret("TOKEN", &Secret::new("hunter2")))
            .then("\n");
        assert_eq!(word.expose(&Bindings::new()).as_deref(), Ok("T=hunter2\n"));
        assert_eq!(word.bind(&Bindings::new()), Err(Slot::new("TOKEN")));
        assert_eq!(word.filled(&Bindings::new()), word);
        assert_eq!(word.secrets().collect::<Vec<_>>(), ["TOKEN"]);
        assert!(
            word.to_string().contains("T=\"${TOKEN}\"") && !format!("{word:?}").contains("hunter")
        );
    }

    #[test]
    fn binds_every_slot_or_names_the_one_it_misses() {
        let word = Word::from("a-").then(Slot::new("x")).then("-b");
        assert_eq!(word.bind(&Bindings::new()), Err(Slot::new("x")));
        let bindings = Bindings::from([(Slot::new("x"), "7".to_owned())]);
        assert_eq!(word.bind(&bindings).as_deref(), Ok("a-7-b"));
        assert_eq!(word.filled(&bindings), Word::from("a-7-b"));
    }
}
