//! `only` and `except`: which branches and tags a job is for.

use regex_lite::Regex;

use super::pipeline::JobEntry;
use super::{OneOrMany, Sources};
use crate::keypath::KeyPath;
use crate::outcome::InputError;

impl JobEntry {
    /// Whether the job is for what is checked out, by its `only` and `except`.
    ///
    /// # Errors
    /// [`InputError`] where an entry is neither a keyword nor a regular expression.
    pub fn is_for(&self, sources: &Sources) -> Result<bool, InputError> {
        let any = |keyword: &str, entries: &Option<OneOrMany<String>>, none: bool| {
            let Some(entries) = entries else {
                return Ok(none);
            };
            let alone = matches!(entries, OneOrMany::One(_));
            let entries = match entries {
                OneOrMany::One(entry) => std::slice::from_ref(entry),
                OneOrMany::Many(entries) => entries,
            };
            for (index, entry) in entries.iter().enumerate() {
                let matched = matches(entry, sources).map_err(|what| {
                    let path = KeyPath::of(&self.name).key(keyword);
                    let path = if alone { path } else { path.index(index) };
                    InputError::at(&path, format!("`{entry}`: {what}"))
                })?;
                if matched {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        Ok(
            any("only", &self.keywords.only, true)?
                && !any("except", &self.keywords.except, false)?,
        )
    }
}

/// Whether an entry means what is checked out: a keyword, or a regular expression for the full or the short
/// ref, as AlloyCI tries them.
fn matches(entry: &str, sources: &Sources) -> Result<bool, String> {
    match entry {
        "branches" => return Ok(!sources.tag),
        "tags" => return Ok(sources.tag),
        // A checkout is no fork.
        "forks" => return Ok(false),
        _ => {}
    }
    // The end as Ruby and Erlang write it; a ref has no line break that the two would differ by.
    let pattern = Regex::new(&entry.replace(r"\Z", r"\z")).map_err(|error| {
        format!(
            "not a regular expression ({error}); it can be branches, tags, forks, or one without look-around \
             and back-references"
        )
    })?;
    let kind = if sources.tag { "tags" } else { "heads" };
    let full = format!("refs/{kind}/{}", sources.ref_name);
    Ok(pattern.is_match(&full) || pattern.is_match(&sources.ref_name))
}

#[cfg(test)]
mod tests {
    use super::matches;
    use crate::job::Sources;

    #[test]
    fn keywords_and_expressions_match_full_and_short_refs() {
        let (branch, tag) = (
            Sources::of_ref("feature/login", false),
            Sources::of_ref("v1.2.0", true),
        );
        for (entry, of_branch, of_tag) in [
            ("branches", true, false),
            ("tags", false, true),
            ("forks", false, false),
            ("feature", true, false),
            ("^feature/", true, false),
            ("^refs/heads/", true, false),
            (r"\Av[0-9]+\.[0-9]+\.[0-9]+\Z", false, true),
            ("^login$", false, false),
            ("master", false, false),
        ] {
            assert_eq!(matches(entry, &branch), Ok(of_branch), "{entry}");
            assert_eq!(matches(entry, &tag), Ok(of_tag), "{entry}");
        }
        let error = matches("(?!master)", &branch).expect_err("look-around");
        assert!(error.starts_with("not a regular expression"), "{error}");
    }
}
