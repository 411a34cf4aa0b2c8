//! Patterns as configurations and jobs write them: `*`, `?`, `[a-z]` and `{a,b}` stay between two slashes, `**` does
//! not.

/// A pattern that can match.
pub struct Glob(String);

impl Glob {
    /// Reads a pattern.
    ///
    /// # Errors
    /// Why it is none.
    pub fn new(pattern: &str) -> Result<Self, String> {
        fast_glob::validate(pattern).map_err(|error| error.to_string())?;
        // For the library it turns the whole pattern round: who allows images by a pattern means no such thing.
        let escape = if pattern.starts_with('!') { "\\" } else { "" };
        Ok(Self(format!("{escape}{pattern}")))
    }

    /// Whether all of a text matches.
    #[must_use]
    pub fn matches(&self, text: impl AsRef<[u8]>) -> bool {
        fast_glob::glob_match(&self.0, text)
    }
}

#[cfg(test)]
mod tests {
    use super::Glob;

    #[test]
    fn stars_stay_between_slashes_unless_they_are_two() {
        for (pattern, text, matches) in [
            ("a/*", "a/b", true),
            ("a/*", "a/b/c", false),
            ("a/*", "a/", true),
            ("a/**", "a/b/c", true),
            ("a/**", "a", false),
            ("**/c", "c", true),
            ("**/c", "a/b/c", true),
            ("a/**/c", "a/c", true),
            ("a/**/c", "a/b/d/c", true),
            ("a/**/c", "ab/c", false),
            ("a?c", "abc", true),
            ("a?c", "a/c", false),
            ("a[!/x]c", "abc", true),
            ("a[b-d]c", "acc", true),
            ("a[!b-d]c", "acc", false),
            ("a{b,c/d,}e", "ac/de", true),
            ("a{b,c/d,}e", "ae", true),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("!a", "b", false),
            ("!a", "!a", true),
            ("*.tar.*", "x.tar.gz", true),
            ("x*", ".x", false),
        ] {
            let glob = Glob::new(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            assert_eq!(glob.matches(text), matches, "{pattern} {text}");
        }
        let bytes = Glob::new("a*").expect("a pattern");
        assert!(bytes.matches(b"a\xff"));
    }

    #[test]
    fn what_could_never_match_is_no_pattern() {
        for pattern in ["[", "a[b", "{a", "a\\"] {
            assert!(Glob::new(pattern).is_err(), "{pattern}");
        }
    }
}
