//! Places in a text, and what both formats say of one that cannot be read.

/// Line and column, both from 1; a column is a character.
pub type Position = (usize, usize);

/// Why a text is no tree.
pub struct Unreadable {
    pub at: Option<Position>,
    pub what: String,
}

/// Line and column of a byte.
pub fn position(text: &str, offset: usize) -> Position {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.rfind('\n').map_or(0, |at| at + 1);
    (
        before.matches('\n').count() + 1,
        before[line..].chars().count() + 1,
    )
}

/// That an object has a key a second time.
pub fn twice(key: &str) -> String {
    format!(
        "the key `{key}` is there twice, and one of them would be lost: give it another name, or make one of both"
    )
}
