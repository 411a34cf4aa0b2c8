//! A log as GitLab's page reads it: times and section marks are taken off, the last state of a line counts, and each line
//! says which sections it stands in (GitLab's `lib/gitlab/ci/ansi2json/converter.rb`).

use std::fmt::Write as _;

use regex_lite::Regex;

/// A line that the page shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// `2021-01-01T01:00:00.020010Z`, where the log has times.
    pub time: Option<String>,
    /// The sections around it, the outermost first.
    pub sections: Vec<String>,
    /// Escape sequences are kept.
    pub text: String,
}

/// What stands before a line: its time, the stream, and whether it goes on with the line before.
fn stamp() -> Regex {
    let stamp = r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z) [0-9a-f]{2}[OE]([ +])";
    Regex::new(stamp).expect("a pattern")
}

/// How long a [stamp] is, in bytes.
const STAMP: usize = 32;

/// The log without the times of its lines. Of 50 MB, the runner waits for it: so no pattern is looked for.
pub fn without_times(log: &str) -> String {
    let has_time = |line: &str| {
        let bytes = line.as_bytes();
        bytes.len() > STAMP
            && bytes[4] == b'-'
            && bytes[10] == b'T'
            && bytes[26] == b'Z'
            && b" +".contains(&bytes[STAMP - 1])
    };
    let lines = log.split_inclusive('\n');
    let mut plain = String::with_capacity(log.len());
    for line in lines {
        plain.push_str(if has_time(line) { &line[STAMP..] } else { line });
    }
    plain
}

/// The lines that the page shows, and the sections in the order of their ends.
///
/// Panics where a section ends that is not open, or is open at the end: GitLab would show that without a word.
#[track_caller]
pub fn read(log: &str) -> (Vec<Line>, Vec<String>) {
    let stamp = stamp();
    let mark = Regex::new(r"section_(start|end):(\d+):([A-Za-z0-9_.-]+)(\[[^]]*\])?\r\x1b\[0K");
    let mark = mark.expect("a pattern");
    let stamped = stamp.is_match(log);
    let mut whole: Vec<(Option<String>, String)> = Vec::new();
    for line in log.lines() {
        let Some(found) = stamped.then(|| stamp.captures(line)) else {
            whole.push((None, line.to_owned()));
            continue;
        };
        let found = found.unwrap_or_else(|| panic!("a line without its time: {line:?}"));
        let text = &line[found[0].len()..];
        match (&found[2], whole.last_mut()) {
            ("+", Some((_, before))) => before.push_str(text),
            _ => whole.push((Some(found[1].to_owned()), text.to_owned())),
        }
    }
    let (mut lines, mut open, mut ended) = (Vec::new(), Vec::new(), Vec::new());
    for (time, text) in whole {
        let mut shown = |text: &str, open: &[String]| {
            let text = text.rsplit('\r').next().unwrap_or_default();
            if !text.is_empty() {
                lines.push(Line {
                    time: time.clone(),
                    sections: open.to_vec(),
                    text: text.to_owned(),
                });
            }
        };
        let mut from = 0;
        for found in mark.captures_iter(&text) {
            let whole = found.get(0).expect("all of it");
            shown(&text[from..whole.start()], &open);
            from = whole.end();
            let name = found[3].to_owned();
            if &found[1] == "start" {
                open.push(name);
            } else {
                assert_eq!(open.pop().as_deref(), Some(&*name), "{log}");
                ended.push(name);
            }
        }
        shown(&text[from..], &open);
    }
    assert_eq!(open, [""; 0], "sections that do not end: {log}");
    (lines, ended)
}

/// The page, to be looked at in a browser.
pub fn page(log: &str) -> String {
    let (lines, _) = read(log);
    let mut page = "<!doctype html><meta charset=utf-8><style>body{background:#1f1f1f;color:#ccc;font:13px monospace}\
        time{color:#777;margin-right:1em}b{color:#7dc9ff}div{white-space:pre-wrap;padding:1px 8px}.s{background:#333}\
        .e{color:#ff8080}.w{color:#f5d76e}.g{color:#7ddf8c}</style>"
        .to_owned();
    let mut section = Vec::new();
    for line in lines {
        let is_title = line.sections != section && !line.sections.is_empty();
        section.clone_from(&line.sections);
        let time = line.time.as_deref().map_or("", |time| &time[11..19]);
        let colour = [("[31", "e"), ("[33", "w"), ("[32", "g")];
        let colour = colour.iter().find(|(sgr, _)| line.text.contains(sgr));
        let class = match (is_title, colour) {
            (true, _) => "s",
            (false, Some((_, class))) => class,
            (false, None) => "",
        };
        let escapes = Regex::new(r"\x1b\[[0-9;]*[A-Za-z]").expect("a pattern");
        let text = escapes.replace_all(&line.text, "");
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        let depth = if is_title { 0 } else { line.sections.len() };
        let _ = writeln!(
            page,
            "<div class=\"{class}\"><time>{time}</time>{}{text}</div>",
            "  ".repeat(depth)
        );
    }
    page
}
