//! The markdown of the manual's pages as roff. It knows what the pages use, which is little: headings, paragraphs,
//! lists, code, and tables of two columns, which become lists of terms.

use clap::Command;
use clap_mangen::roff::{Inline, Roff, bold, roman};

use super::super::topic;
use super::frame::{TEXTS, references, topic_name};

/// A part of a page.
#[derive(Debug, PartialEq, Eq)]
enum Block<'a> {
    /// A heading by how deep it is; the title of the page is 1.
    Heading(usize, &'a str),
    Paragraph(String),
    /// An entry of a list, behind its mark: `-`, `1.`.
    Entry(&'a str, String),
    /// A row of a table.
    Row(&'a str, &'a str),
    Code(Vec<&'a str>),
}

/// Appends a page, without its title, which a man page has above.
pub(super) fn render(page: &mut Roff, text: &str, program: &Command) {
    append(page, blocks(text), program);
}

/// Appends several texts as one: a table of numbers out of their tables, and then the rest of each. Where several have a
/// row for a number, the first one counts.
pub(super) fn render_merged(page: &mut Roff, texts: &[&str], program: &Command) {
    let number = |block: &Block| match block {
        Block::Row(term, _) => term.parse::<u8>().ok(),
        _ => None,
    };
    let all = texts.iter().flat_map(|text| blocks(text));
    let (mut rows, rest): (Vec<_>, Vec<_>) = all.partition(|block| number(block).is_some());
    rows.sort_by_key(number);
    rows.dedup_by_key(|row| number(row));
    append(page, rows, program);
    append(page, rest, program);
}

fn append<'a>(page: &mut Roff, blocks: impl IntoIterator<Item = Block<'a>>, program: &Command) {
    for block in blocks {
        match block {
            Block::Heading(1, _) => {}
            Block::Heading(2, text) => {
                page.control("SH", [&*text.to_uppercase()]);
            }
            Block::Heading(_, text) => {
                page.control("SS", [text]);
            }
            Block::Paragraph(text) => {
                page.control("PP", []).text(inline(&text, program));
            }
            Block::Entry("-", text) => {
                page.control("IP", [r"\(bu", "2"]);
                page.text(inline(&text, program));
            }
            Block::Entry(mark, text) => {
                page.control("IP", [mark, "3"]);
                page.text(inline(&text, program));
            }
            Block::Row(term, text) => {
                page.control("TP", []).text(inline(term, program));
                page.text(inline(text, program));
            }
            Block::Code(lines) => code(page, &lines),
        }
    }
}

/// Lines as they are.
pub(super) fn code(page: &mut Roff, lines: &[&str]) {
    page.control("PP", []).control("RS", ["4"]);
    page.control("nf", []);
    for line in lines {
        page.text([roman(*line)]);
    }
    page.control("fi", []).control("RE", []);
}

fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    // Whether the line above belongs to the block that is last: else a line begins a paragraph.
    let mut goes_on = false;
    while let Some(line) = lines.next() {
        let hashes = line.chars().take_while(|c| *c == '#').count();
        if line.starts_with("```") {
            let code = lines.by_ref().take_while(|line| !line.starts_with("```"));
            blocks.push(Block::Code(code.collect()));
        } else if let Some((term, text)) = row(line) {
            // The line below the head of a table: the head says nothing that the terms do not.
            if term.chars().all(|c| c == '-') {
                blocks.pop();
            } else {
                blocks.push(Block::Row(term, text));
            }
        } else if hashes > 0 {
            blocks.push(Block::Heading(hashes, line[hashes..].trim()));
        } else if let Some((mark, text)) = entry(line) {
            blocks.push(Block::Entry(mark, text.to_owned()));
            goes_on = true;
            continue;
        } else if !line.is_empty() {
            match blocks.last_mut() {
                Some(Block::Paragraph(text) | Block::Entry(_, text)) if goes_on => {
                    text.push(' ');
                    text.push_str(line.trim());
                }
                _ => blocks.push(Block::Paragraph(line.trim().to_owned())),
            }
            goes_on = true;
            continue;
        }
        goes_on = false;
    }
    blocks
}

/// The two cells of a table's row.
fn row(line: &str) -> Option<(&str, &str)> {
    let cells = line.strip_prefix("| ")?.strip_suffix(" |")?;
    cells.split_once(" | ")
}

/// The mark and the first line of an entry of a list.
fn entry(line: &str) -> Option<(&str, &str)> {
    let (mark, text) = line.split_once(' ')?;
    let number = mark.strip_suffix('.');
    let is_number = number
        .is_some_and(|digits| !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit()));
    (mark == "-" || is_number).then_some((mark, text))
}

/// Code and what is emphasized is bold; a reference to another page is one to its man page.
fn inline(text: &str, program: &Command) -> Vec<Inline> {
    let mut line = Vec::new();
    let mut strong = false;
    for (index, part) in text.split('`').enumerate() {
        if index % 2 == 1 {
            match part.strip_prefix("help ").and_then(topic) {
                Some(topic) => line.extend(references([(topic_name(topic.name, program), TEXTS)])),
                None => line.push(bold(part)),
            }
            continue;
        }
        for (index, part) in part.split("**").enumerate() {
            strong ^= index > 0;
            match part {
                "" => {}
                _ if strong => line.push(bold(part)),
                _ => line.push(roman(part)),
            }
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::{Block, blocks, inline, render_merged};
    use crate::manual::TOPICS;
    use clap::Command;
    use clap_mangen::roff::{Roff, bold, roman};

    #[test]
    fn a_page_is_taken_apart_by_its_marks() {
        let text = "# Title\n\nTwo\nlines.\n\n## Part\n| name | what |\n| --- | --- |\n| `a` | one \\| two |\n\n\
                    - an\n  entry\n- next\n\n1. first\n\n```\n# code\n\n| x | y |\n```\nafter\n";
        let expected = [
            Block::Heading(1, "Title"),
            Block::Paragraph("Two lines.".to_owned()),
            Block::Heading(2, "Part"),
            Block::Row("`a`", "one \\| two"),
            Block::Entry("-", "an entry".to_owned()),
            Block::Entry("-", "next".to_owned()),
            Block::Entry("1.", "first".to_owned()),
            Block::Code(vec!["# code", "", "| x | y |"]),
            Block::Paragraph("after".to_owned()),
        ];
        assert_eq!(blocks(text), expected);
    }

    #[test]
    fn code_in_what_is_emphasized_does_not_end_it() {
        let line = inline("a **b `c` d** e (`help services`)", &Command::new("runner"));
        let expected = [
            roman("a "),
            bold("b "),
            bold("c"),
            bold(" d"),
            roman(" e ("),
            bold("runner-services"),
            roman("(7)"),
            roman(")"),
        ];
        assert_eq!(line, expected);
    }

    #[test]
    fn of_two_rows_for_a_number_the_first_counts() {
        let own = "| status | meaning |\n| --- | --- |\n| 3 | own |\n| 0 | fine |\n\nMore.\n";
        let of_all = "# Title\n\n| status | meaning |\n| --- | --- |\n| 2 | two |\n| 3 | three |\n";
        let mut page = Roff::new();
        render_merged(&mut page, &[own, of_all], &Command::new("runner"));
        assert_eq!(
            page.to_roff(),
            ".TP\n0\nfine\n.TP\n2\ntwo\n.TP\n3\nown\n.PP\nMore.\n"
        );
    }

    #[test]
    fn pages_have_nothing_that_is_not_known_here() {
        for topic in TOPICS {
            for block in blocks(topic.text) {
                let (Block::Paragraph(text) | Block::Entry(_, text)) = &block else {
                    continue;
                };
                let strange = ["](", "<", "* ", "|", "> "];
                let strange = strange.iter().find(|mark| text.starts_with(**mark));
                assert_eq!(strange, None, "{}: {text}", topic.name);
                for mark in ["`", "**"] {
                    let marks = text.matches(mark).count();
                    assert_eq!(marks % 2, 0, "{}: {mark} in {text}", topic.name);
                }
            }
        }
    }
}
