//! The body that reports a job's end: JSON with the whole log, made while it is sent.

use std::borrow::Cow;
use std::io::{self, Read};

use serde_json::{Map, Value};

/// How much of the log is escaped at a time, in bytes.
const CHUNK: usize = 64 * 1024;

/// A reader of `{…,"trace":"…"}`.
pub(super) struct FinalUpdateBody<'a> {
    log: &'a str,
    end: &'static str,
    /// What is to be read next, and how much of it is read.
    ready: Vec<u8>,
    read: usize,
}

impl<'a> FinalUpdateBody<'a> {
    /// The members of an object (`head`, without a closing brace) and the log.
    pub fn new(head: &Map<String, Value>, log: &'a str) -> Self {
        let mut ready = Value::Object(head.clone()).to_string();
        ready.pop();
        ready.push_str(r#","trace":""#);
        Self {
            log,
            end: "\"}",
            ready: ready.into_bytes(),
            read: 0,
        }
    }

    /// How many bytes are to come.
    pub fn len(&self) -> usize {
        let mut rest = self.log;
        let mut length = self.ready.len() - self.read + self.end.len();
        let mut buffer = Vec::new();
        while let Some(chunk) = next(&mut rest) {
            buffer.clear();
            escape(chunk, &mut buffer);
            length += buffer.len();
        }
        length
    }
}

/// Takes the next chunk, which ends between two characters.
fn next<'a>(rest: &mut &'a str) -> Option<&'a str> {
    if rest.is_empty() {
        return None;
    }
    let (chunk, behind) = rest.split_at(rest.floor_char_boundary(CHUNK));
    *rest = behind;
    Some(chunk)
}

fn escape(text: &str, out: &mut Vec<u8>) {
    let begin = out.len();
    // Writing a string to memory cannot fail.
    if serde_json::to_writer(&mut *out, text).is_ok() {
        out.pop();
        out.remove(begin);
    }
}

impl Read for FinalUpdateBody<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read == self.ready.len() {
            self.ready.clear();
            self.read = 0;
            match next(&mut self.log) {
                Some(chunk) => escape(chunk, &mut self.ready),
                None => self.ready.extend(std::mem::take(&mut self.end).bytes()),
            }
        }
        let count = (&self.ready[self.read..]).read(buffer)?;
        self.read += count;
        Ok(count)
    }
}

/// The log, or the end of it, so that the whole body has at most `most` bytes.
pub(super) fn fitting<'a>(head: &Map<String, Value>, log: &'a str, most: usize) -> Cow<'a, str> {
    let mut kept = log;
    let mut from = 0;
    loop {
        let length = FinalUpdateBody::new(head, kept).len();
        if length <= most || kept.is_empty() {
            break;
        }
        // By the share that fits; where escapes are spread unevenly, by a little more the next time.
        let keep = kept.len() as u128 * most as u128 / length as u128;
        let keep = usize::try_from(keep)
            .unwrap_or(0)
            .min(kept.len() - kept.len().div_ceil(64));
        from += kept.ceil_char_boundary(kept.len() - keep);
        kept = &log[from..];
    }
    match from {
        0 => log.into(),
        _ if kept.is_empty() => "".into(),
        _ => format!("[the log's first {from} bytes are left out: it is too large]\n{kept}").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::{FinalUpdateBody, fitting};
    use serde_json::{Map, Value, json};
    use std::io::Read;

    #[test]
    fn is_json_of_the_length_that_it_says() {
        let log = "ä\u{fffd}\"\\\n\u{1b}[0m".repeat(30_000);
        for log in ["", "x", log.as_str()] {
            let head = Map::from_iter([("state".to_owned(), json!("success"))]);
            let mut body = FinalUpdateBody::new(&head, log);
            let length = body.len();
            let mut bytes = Vec::new();
            body.read_to_end(&mut bytes).expect("memory");
            assert_eq!(bytes.len(), length);
            let value: Value = serde_json::from_slice(&bytes).expect("JSON");
            assert_eq!(value, json!({"state": "success", "trace": log}));
        }
    }

    #[test]
    fn of_a_log_that_is_too_large_the_end_is_kept() {
        let head = Map::new();
        let log = format!("begin{}end", "\u{1b}ä".repeat(10_000));
        assert_eq!(fitting(&head, &log, 1_000_000), log);
        let cut = fitting(&head, &log, 5_000);
        assert!(cut.ends_with("end"), "{cut}");
        assert!(cut.starts_with("[the log's first "), "{cut}");
        assert!(FinalUpdateBody::new(&head, &cut).len() <= 5_100);
        assert_eq!(fitting(&head, &log, 1), "");
    }
}
