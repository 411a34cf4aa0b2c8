//! A string that does not show itself.

use std::fmt;

/// What stands in a log in place of a secret.
pub const MASK: &str = "[MASKED]";

/// Shorter values are no secrets, in bytes: half of all texts have them in them.
pub const SHORTEST: usize = 4;

/// A value that must reach no log, no argument list and no error message: `Display` and `Debug` print
/// [`MASK`]. [`Secret::expose`] is the only way to the text.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for whoever really needs it.
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
    use super::Secret;

    #[test]
    fn neither_display_nor_debug_shows_the_text() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "[MASKED] [MASKED]");
    }
}
