//! Writes files for a coordinator that reads them one by one, as it reads reports: compressed, each with its name, or
//! one as it is.

use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result};
use flate2::GzBuilder;
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};

use super::Entry;
use super::level::Level;
use super::tree::{Tree, Way};
use super::units::{Part, read};

/// How many bytes of a file are in memory.
const PART: u64 = 1 << 20;

/// Writes a gzip member (RFC 1952) for each of the entries, which are files, in their order. Returns warnings about
/// files that changed meanwhile.
///
/// # Errors
/// If a file cannot be read, or `out` cannot be written.
pub fn write(
    level: Level,
    tree: &Tree,
    entries: &[Entry],
    out: &mut impl Write,
) -> Result<Vec<String>> {
    let mut way = tree.way();
    let mut warnings = Vec::new();
    for entry in entries {
        let name = entry
            .path
            .file_name()
            .map_or(entry.path.as_path(), Path::new);
        let mut member = GzBuilder::new()
            .filename(header(name))
            .comment(header(&entry.path))
            .mtime(u32::try_from(entry.stat.mtime).unwrap_or_default())
            .write(&mut *out, level.deflate());
        warnings.extend(copy(&mut way, entry, &mut member)?);
        member.finish().context("cannot write the archive")?;
    }
    Ok(warnings)
}

/// Writes the contents of the entries, which are files, one behind the other.
///
/// # Errors
/// As [`write`].
pub fn write_plain(tree: &Tree, entries: &[Entry], out: &mut impl Write) -> Result<Vec<String>> {
    let mut way = tree.way();
    let copied = entries.iter().map(|entry| copy(&mut way, entry, out));
    let warnings = copied.collect::<Result<Vec<_>>>()?;
    Ok(warnings.into_iter().flatten().collect())
}

/// Writes the contents of a file, and returns a warning where it changed meanwhile.
fn copy(way: &mut Way, entry: &Entry, out: &mut impl Write) -> Result<Option<String>> {
    let mut contents = Vec::new();
    let mut from = 0;
    while from < entry.size() {
        let length = PART.min(entry.size() - from);
        let part = Part {
            entry,
            from,
            length,
        };
        contents.clear();
        let changed = read(way, &part, &mut contents)?;
        out.write_all(&contents)
            .context("cannot write the archive")?;
        if let Some(changed) = changed {
            return Ok(Some(changed.warning));
        }
        from += length;
    }
    Ok(None)
}

/// A path as a header holds it, which has no words for other characters than those of ASCII: GitLab reads them in this
/// form.
fn header(path: &Path) -> Vec<u8> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.is_ascii() && !bytes.contains(&b'%') {
        bytes.to_vec()
    } else {
        format!("e:{}", percent_encode(bytes, NON_ALPHANUMERIC)).into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;

    use flate2::bufread::GzDecoder;

    use super::super::select::select;
    use super::super::tree::Tree;
    use super::{write, write_plain};
    use crate::helper::archive::level::Level;

    #[test]
    fn each_file_is_a_member_in_the_order_of_the_names() {
        let root = tempfile::tempdir().expect("a directory");
        let large = "x".repeat(3 << 20);
        for (path, text) in [
            ("reports/b.xml", "<b/>"),
            ("reports/a.xml", large.as_str()),
            ("reports/empty", ""),
            ("größe", "4"),
        ] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, text).expect("written");
        }
        let tree = Tree::open(root.path()).expect("open");
        let paths = ["reports".to_owned(), "größe".to_owned()];
        let mut selected = select(&tree, &paths, false, &[]).expect("readable");
        selected.keep_files();
        let mut stream = Vec::new();
        let warnings =
            write(Level::Default, &tree, &selected.entries, &mut stream).expect("written");
        assert!(warnings.is_empty(), "{warnings:?}");
        let mut rest = &stream[..];
        let mut seen = Vec::new();
        while !rest.is_empty() {
            let mut member = GzDecoder::new(rest);
            let mut text = String::new();
            member.read_to_string(&mut text).expect("whole");
            let header = member.header().expect("a header");
            let word =
                |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or(b"-")).into_owned();
            seen.push((word(header.filename()), word(header.comment()), text.len()));
            rest = member.into_inner();
        }
        let member = |name: &str, path: &str, length| (name.to_owned(), path.to_owned(), length);
        assert_eq!(
            seen,
            [
                member("e:gr%C3%B6%C3%9Fe", "e:gr%C3%B6%C3%9Fe", 1),
                member("a.xml", "reports/a.xml", 3 << 20),
                member("b.xml", "reports/b.xml", 4),
                member("empty", "reports/empty", 0),
            ]
        );
        let mut plain = Vec::new();
        write_plain(&tree, &selected.entries[2..], &mut plain).expect("written");
        assert_eq!(plain, b"<b/>");
    }
}
