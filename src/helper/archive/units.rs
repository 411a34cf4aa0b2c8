//! Divides entries into units of work for threads, and reads the files of a unit.

use std::io::{Read, Seek, SeekFrom};

use anyhow::{Context, Result};
use rustix::io::Errno;

use super::Entry;
use super::tree::Way;

/// A unit of work for one thread.
#[derive(Clone, Copy)]
pub enum Unit<'a> {
    /// Whole entries.
    Entries(&'a [Entry]),
    /// A part of a file.
    Part(Part<'a>),
}

/// A part of a file.
#[derive(Clone, Copy)]
pub struct Part<'a> {
    pub entry: &'a Entry,
    /// The offset of its first byte.
    pub from: u64,
    /// Its length in bytes.
    pub length: u64,
}

impl<'a> Part<'a> {
    /// All of a file as one part.
    pub fn whole(entry: &'a Entry) -> Self {
        Self {
            entry,
            from: 0,
            length: entry.size(),
        }
    }

    pub fn is_first(&self) -> bool {
        self.from == 0
    }

    pub fn is_last(&self) -> bool {
        self.from + self.length == self.entry.size()
    }
}

/// Divides entries into units of about this many bytes. It is an iterator because a file without blocks can have any
/// length. `each` is the number of bytes that an entry takes in addition to its contents.
pub fn units(entries: &[Entry], about: u64, each: u64) -> Units<'_> {
    Units {
        entries,
        from: 0,
        about,
        each,
    }
}

/// See [`units`].
pub struct Units<'a> {
    /// The entries that are left.
    entries: &'a [Entry],
    /// How many bytes of the first one are in earlier units.
    from: u64,
    about: u64,
    each: u64,
}

impl<'a> Iterator for Units<'a> {
    type Item = Unit<'a>;

    fn next(&mut self) -> Option<Unit<'a>> {
        let entry = self.entries.first()?;
        let in_parts = |entry: &Entry| entry.size() > self.about;
        if in_parts(entry) {
            let from = self.from;
            let length = self.about.min(entry.size() - from);
            self.from += length;
            if self.from == entry.size() {
                self.from = 0;
                self.entries = &self.entries[1..];
            }
            return Some(Unit::Part(Part {
                entry,
                from,
                length,
            }));
        }
        let mut length = 0;
        let fit = self.entries.iter().take_while(|entry| {
            let fits = length <= self.about && !in_parts(entry);
            length += entry.size().saturating_add(self.each);
            fits
        });
        let (unit, rest) = self.entries.split_at(fit.count());
        self.entries = rest;
        Some(Unit::Entries(unit))
    }
}

/// A change of a file since it was selected.
pub struct Changed {
    /// The warning about it.
    pub warning: String,
    /// Whether the file does not exist any more.
    pub gone: bool,
}

/// Reads a part of a file, to the end of `contents`.
pub fn read(way: &mut Way, part: &Part, contents: &mut Vec<u8>) -> Result<Option<Changed>> {
    let path = part.entry.path.display();
    let failed = || format!("cannot read {path}");
    let changed = |gone| Changed {
        warning: format!("{path} changed while it was read"),
        gone,
    };
    let mut file = match way.file(&part.entry.path) {
        Ok(Some(file)) => file,
        // Something else is there now, which was not selected.
        Ok(None) => return Ok(Some(changed(true))),
        Err(Errno::NOENT) => {
            return Ok(Some(Changed {
                warning: format!("{path} is gone"),
                gone: true,
            }));
        }
        Err(error) => return Err(error).with_context(failed),
    };
    if !part.is_first() {
        file.seek(SeekFrom::Start(part.from)).with_context(failed)?;
    }
    let read = file
        .take(part.length)
        .read_to_end(contents)
        .with_context(failed)?;
    Ok((read as u64 != part.length).then(|| changed(false)))
}

#[cfg(test)]
mod tests {
    use super::{Unit, units};
    use crate::helper::archive::{Entry, Kind, Stat};

    #[test]
    fn every_byte_is_in_one_unit() {
        let sizes = [10, 90, 5, 250, 0, 100, 101, 3];
        let entries = sizes.map(|size| Entry {
            path: format!("{size}").into(),
            kind: Kind::File(size),
            stat: Stat::default(),
        });
        let shown: Vec<String> = units(&entries, 100, 1)
            .map(|unit| match unit {
                Unit::Entries(entries) => {
                    let names = entries.iter().map(|entry| entry.path.display().to_string());
                    names.collect::<Vec<_>>().join(" ")
                }
                Unit::Part(part) => {
                    let end = if part.is_last() { "." } else { "" };
                    format!(
                        "{}:{}+{}{end}",
                        part.entry.path.display(),
                        part.from,
                        part.length
                    )
                }
            })
            .collect();
        assert_eq!(
            shown,
            [
                "10 90",
                "5",
                "250:0+100",
                "250:100+100",
                "250:200+50.",
                "0 100",
                "101:0+100",
                "101:100+1.",
                "3"
            ]
        );
        assert_eq!(units(&[], 100, 1).count(), 0);
    }

    #[test]
    fn units_are_made_when_they_are_asked_for() {
        let entry = Entry {
            path: "sparse".into(),
            kind: Kind::File(u64::MAX),
            stat: Stat::default(),
        };
        let entries = vec![entry; 3];
        let parts = units(&entries, 100, 1).take(1000);
        let parts = parts.filter(|unit| matches!(unit, Unit::Part(part) if part.length == 100));
        assert_eq!(parts.count(), 1000);
    }
}
