//! What all man pages have in common: their sections, head and foot, and references to each other.

use clap::Command;
use clap_mangen::roff::{Inline, Roff, bold, roman};

/// The section of man pages that commands are in.
pub(super) const COMMANDS: &str = "1";
/// The section of texts that are about neither a command nor a file.
pub(super) const TEXTS: &str = "7";
/// What the head of each page says. It is short, so that the longest names have room beside it.
pub(super) const MANUAL: &str = "Manual";
/// No date, as an argument of a macro.
pub(super) const NO_DATE: &str = "\"\"";
/// What groff prints as look-alikes, which do not work when they are copied, unless it is written by its name.
const GLYPHS: &[(char, &str)] = &[('`', r"\(ga"), ('^', r"\(ha"), ('~', r"\(ti")];

/// References to pages: `alloy-runner-exec(1), …`.
pub(super) fn references(pages: impl IntoIterator<Item = (String, &'static str)>) -> Vec<Inline> {
    let mut line = Vec::new();
    for (name, section) in pages {
        if !line.is_empty() {
            line.push(roman(", "));
        }
        line.extend([bold(name), roman(format!("({section})"))]);
    }
    line
}

/// The name of the page of a topic.
pub(super) fn topic_name(topic: &str, program: &Command) -> String {
    format!("{}-{topic}", program.get_name())
}

/// What the foot of each page says: the program and its version.
pub(super) fn source(program: &Command) -> String {
    let version = program.get_version().unwrap_or_default();
    format!("{} {version}", program.get_name())
}

/// A page of parts that were rendered one by one: each of them begins with the same definitions.
pub(super) fn finished(parts: &str) -> String {
    let definitions = Roff::new().render();
    let mut text = parts.replace(&definitions, "");
    for (c, glyph) in GLYPHS {
        text = text.replace(*c, glyph);
    }
    definitions + &text
}
