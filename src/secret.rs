//! A string that does not show itself.

use std::fmt;

/// What stands in a log in place of a secret.
pub const MASK: &str = "[MASKED]";

/// How many characters a value has at least that is looked for in texts: shorter ones are parts of many words.
pub const SHORTEST: usize = 4;

/// Whether a value is long enough to be looked for in texts.
#[must_use]
pub fn is_maskable(value: &str) -> bool {
    value.chars().nth(SHORTEST - 1).is_some()
}

/// A value that must reach no log, no argument list and no error message: `Display` and `Debug` print
/// [`MASK`]. [`Secret::expose`] is the only way to the text.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the places that cannot do without it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

#[cfg(test)]
mod tests {
    use super::{Secret, is_maskable};

    #[test]
    fn what_is_looked_for_has_four_characters() {
        for (value, is) in [("", false), ("abc", false), ("äöü", false), ("äöüß", true)] {
            assert_eq!(is_maskable(value), is, "{value}");
        }
    }

    #[test]
    fn neither_display_nor_debug_shows_the_text() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "[MASKED] [MASKED]");
    }
}
