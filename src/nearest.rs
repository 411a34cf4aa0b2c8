//! The word that is meant by one that is not known.

/// How alike a word has to be to the one that may be meant: a typo or two in a long one.
const ALIKE: f64 = 0.8;

/// The word that is most likely meant.
#[must_use]
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let word = word.to_lowercase();
    let likely = known
        .iter()
        .map(|other| (strsim::jaro_winkler(&word, &other.to_lowercase()), *other))
        .filter(|(likeness, _)| *likeness > ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    likely.map(|(_, other)| other)
}

/// The same, as the end of a sentence; empty where none is.
#[must_use]
pub fn nearest_hint(word: &str, known: &[&str]) -> String {
    nearest(word, known).map_or_else(String::new, |other| format!(" (did you mean `{other}`?)"))
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn typos_are_seen_through() {
        for (word, meant) in [
            ("scirpt", Some("script")),
            ("Script", Some("script")),
            ("path", Some("paths")),
            ("zzz", None),
            ("", None),
        ] {
            assert_eq!(
                nearest(word, &["image", "paths", "script"]),
                meant,
                "{word}"
            );
        }
    }
}
