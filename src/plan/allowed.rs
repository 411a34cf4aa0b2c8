//! Lists of wildcards that say what is allowed.

use globset::GlobBuilder;

/// Whether a name matches one of the patterns; no patterns allow everything. `*` stops at a slash, `**` does
/// not.
pub(super) fn allows(patterns: Option<&[String]>, name: &str) -> bool {
    let patterns = patterns.unwrap_or_default();
    patterns.is_empty()
        || patterns.iter().any(|pattern| {
            let glob = GlobBuilder::new(pattern).literal_separator(true).build();
            glob.is_ok_and(|glob| glob.compile_matcher().is_match(name))
        })
}
