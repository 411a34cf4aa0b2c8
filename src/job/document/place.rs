//! What reading JSON and reading YAML have in common: places in a text, and why a text cannot be read.

/// Line and column, both counted from 1. Columns count characters, not bytes.
pub type Position = (usize, usize);

/// Why a text cannot be parsed into a tree of values.
pub struct Unreadable {
    /// Where, if the parser says so.
    pub at: Option<Position>,
    /// What is wrong, as the message says it behind the place.
    pub what: String,
}

/// The position of the character that begins at this byte. Any other offset counts as the end of the text.
pub fn position(text: &str, offset: usize) -> Position {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (
        before.matches('\n').count() + 1,
        before[line_start..].chars().count() + 1,
    )
}

/// The message that an object has a key twice. That is an error, since the parsers would drop one of the values
/// silently.
pub fn twice(key: &str) -> String {
    format!(
        "the key `{key}` is there twice, and one of them would be lost: give it another name, or make one of both"
    )
}
