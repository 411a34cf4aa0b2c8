//! How a text is one word of a shell.

use crate::docker::Word;
use crate::secret::Secret;

/// A text in single quotes.
pub(super) fn quote(text: &str) -> String {
    format!("'{}'", unquotable(text))
}

/// A text escaped for use between single quotes.
fn unquotable(text: &str) -> String {
    text.replace('\'', r"'\''")
}

/// A secret in single quotes. A printed script has the variable of this name in its place.
pub(super) fn quote_secret(name: &str, value: &Secret) -> Word {
    let value = Secret::new(unquotable(value.expose()));
    Word::from("'")
        .then(Word::secret(name.to_owned(), &value))
        .then("'")
}
