//! Golden files: texts that stand in `fixtures`, letter for letter. With `GOLDEN=write` a test writes them anew, and their
//! diff is what a change does.

use std::fs;
use std::path::Path;

/// How many lines of a difference are shown.
const SHOWN: usize = 5;

/// Compares a text with its golden file.
#[track_caller]
pub fn assert_golden(file: &Path, text: &str) {
    if let Some(difference) = difference(file, text) {
        panic!("{difference}");
    }
}

/// How a text differs from its golden file.
pub fn difference(file: &Path, text: &str) -> Option<String> {
    if std::env::var("GOLDEN").is_ok_and(|what| what == "write") {
        fs::write(file, text).expect("written");
    }
    let golden = fs::read_to_string(file).unwrap_or_default();
    if golden == text {
        return None;
    }
    let same = |(one, other): &(&str, &str)| one == other;
    let first = golden.lines().zip(text.lines()).take_while(same).count();
    let part = |sign: char, text: &str| -> String {
        let lines = text.lines().skip(first).take(SHOWN);
        lines.fold(String::new(), |part, line| {
            part + &format!("{sign}{line}\n")
        })
    };
    Some(format!(
        "{}:{}: the text is another one now (GOLDEN=write writes it anew):\n{}{}",
        file.display(),
        first + 1,
        part('-', &golden),
        part('+', text)
    ))
}
