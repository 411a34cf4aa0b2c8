//! Tables for a terminal.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthStr;

/// A cell, and the colour it has where colours are wanted (an SGR parameter, empty for none).
#[derive(Clone, Debug)]
pub(super) struct Cell {
    pub text: String,
    pub sgr: &'static str,
}

impl Cell {
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            sgr: "",
        }
    }

    pub fn coloured(text: impl Into<String>, sgr: &'static str) -> Self {
        Self {
            text: text.into(),
            sgr,
        }
    }
}

/// How many columns a text takes.
pub(super) fn width(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// A text with spaces behind it up to a width.
pub(super) fn padded(text: &str, to: usize) -> String {
    format!("{text}{}", " ".repeat(to.saturating_sub(width(text))))
}

/// The rows under their headings, columns as wide as they need.
pub(super) fn table(headings: &[&str], rows: &[Vec<Cell>], colour: bool) -> String {
    let heading: Vec<Cell> = headings
        .iter()
        .map(|text| Cell::coloured(*text, "1"))
        .collect();
    let mut widths = vec![0; headings.len()];
    for row in std::iter::once(&heading).chain(rows) {
        for (column, cell) in row.iter().enumerate() {
            widths[column] = widths[column].max(width(&cell.text));
        }
    }
    let mut text = String::new();
    for row in std::iter::once(&heading).chain(rows) {
        let last = row
            .iter()
            .rposition(|cell| !cell.text.is_empty())
            .unwrap_or(0);
        for (column, cell) in row.iter().take(last + 1).enumerate() {
            let shown = if column == last {
                cell.text.clone()
            } else {
                padded(&cell.text, widths[column])
            };
            let gap = if column == last { "" } else { "  " };
            let _ = if colour && !cell.sgr.is_empty() {
                write!(text, "\x1b[{}m{shown}\x1b[0m{gap}", cell.sgr)
            } else {
                write!(text, "{shown}{gap}")
            };
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Cell, table};

    #[test]
    fn columns_are_as_wide_as_they_need() {
        let rows = [
            vec![Cell::new("grün"), Cell::new("x"), Cell::new("")],
            vec![
                Cell::new("日本"),
                Cell::coloured("longer", "31"),
                Cell::new("y"),
            ],
        ];
        assert_eq!(
            table(&["job", "b", "c"], &rows, false),
            "job   b       c\ngrün  x\n日本  longer  y\n"
        );
        assert!(table(&["a", "b", "c"], &rows, true).contains("\x1b[31mlonger\x1b[0m  y\n"));
    }
}
