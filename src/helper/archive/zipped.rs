//! Writes artifacts as a zip file that can be sent while it is being made.
//!
//! All cores compress, large files in parts. The output is written in order: a length that is known only after the
//! contents follows after them, as zip has it for streams.

use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use crc32fast::Hasher;
use flate2::{Compress, FlushCompress, Status};

use super::level::Level;
use super::parallel::ordered;
use super::tree::{Tree, Way};
use super::units::{Part, Unit, read, units};
use super::zip_headers::{DEFLATED, Member, STORED, central, descriptor, end, local};
use super::{Entry, Kind};

/// How many bytes are compressed at once; a longer file is divided into parts.
const PART: u64 = 1 << 20;

/// The bytes of the archive that a unit results in.
struct Piece<'a> {
    bytes: Vec<u8>,
    members: Vec<Placed<'a>>,
}

/// A member, or a part of one, in a piece.
struct Placed<'a> {
    member: Member<'a>,
    crc: Hasher,
    /// The offset of its header in the piece. `None` if an earlier piece has it.
    header: Option<u64>,
    /// Whether its end is in the piece.
    ends: bool,
}

/// Writes an archive of entries of a tree, compressed so hard. Returns warnings about files that changed meanwhile.
///
/// # Errors
/// If a file cannot be read, or `out` cannot be written.
pub fn write(
    level: Level,
    tree: &Tree,
    entries: &[Entry],
    out: &mut impl Write,
) -> Result<Vec<String>> {
    let changed = Mutex::new(Vec::new());
    let worker = || {
        let mut packer = Packer {
            way: tree.way(),
            deflate: Compress::new(level.deflate(), false),
            contents: Vec::new(),
            warnings: Vec::new(),
        };
        let changed = &changed;
        Ok(move |unit| {
            let piece = packer.piece(unit)?;
            changed
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .append(&mut packer.warnings);
            Ok(piece)
        })
    };
    let mut archive = Archive {
        out,
        written: 0,
        directory: Vec::new(),
        count: 0,
        open: None,
    };
    let units = units(entries, PART, 128);
    ordered(units, worker, |piece| archive.add(piece))?;
    archive.finish()?;
    Ok(changed.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// The reader, compressor and buffers of one thread.
struct Packer<'r> {
    way: Way<'r>,
    deflate: Compress,
    contents: Vec<u8>,
    warnings: Vec<String>,
}

impl Packer<'_> {
    fn piece<'a>(&mut self, unit: Unit<'a>) -> Result<Piece<'a>> {
        let mut piece = Piece {
            bytes: Vec::new(),
            members: Vec::new(),
        };
        match unit {
            Unit::Entries(entries) => {
                for entry in entries {
                    if self.read(entry, &Part::whole(entry))? {
                        self.whole(entry, &mut piece)?;
                    }
                }
            }
            Unit::Part(part) => {
                self.read(part.entry, &part)?;
                self.part(&part, &mut piece)?;
            }
        }
        Ok(piece)
    }

    /// Reads the contents of an entry. Returns whether it still exists.
    fn read(&mut self, entry: &Entry, part: &Part) -> Result<bool> {
        self.contents.clear();
        match &entry.kind {
            Kind::Directory => {}
            Kind::Link(target) => self.contents.extend_from_slice(target.as_bytes()),
            Kind::File(_) => {
                if let Some(changed) = read(&mut self.way, part, &mut self.contents)? {
                    self.warnings.push(changed.warning);
                    return Ok(!changed.gone);
                }
            }
        }
        Ok(true)
    }

    /// Adds an entry whose contents have been read.
    fn whole<'a>(&mut self, entry: &'a Entry, piece: &mut Piece<'a>) -> Result<()> {
        let (mut member, crc) = self.member(entry);
        let at = piece.bytes.len();
        // The length of the header does not depend on the values in it.
        local(&member, &mut piece.bytes);
        let begin = piece.bytes.len();
        if member.length > 0 && matches!(entry.kind, Kind::File(_)) {
            self.deflate(true, &mut piece.bytes)?;
        }
        member.packed = (piece.bytes.len() - begin) as u64;
        if member.packed == 0 || member.packed >= member.length {
            piece.bytes.truncate(begin);
            piece.bytes.extend_from_slice(&self.contents);
            (member.packed, member.method) = (member.length, STORED);
        }
        let mut header = Vec::with_capacity(begin - at);
        local(&member, &mut header);
        piece.bytes[at..begin].copy_from_slice(&header);
        piece.members.push(Placed {
            member,
            crc,
            header: Some(at as u64),
            ends: true,
        });
        Ok(())
    }

    /// Makes a piece of a part of a file that has been read.
    fn part<'a>(&mut self, part: &Part<'a>, piece: &mut Piece<'a>) -> Result<()> {
        let (mut member, crc) = self.member(part.entry);
        if part.is_first() {
            local(&member, &mut piece.bytes);
        }
        let begin = piece.bytes.len();
        self.deflate(part.is_last(), &mut piece.bytes)?;
        member.packed = (piece.bytes.len() - begin) as u64;
        piece.members.push(Placed {
            member,
            crc,
            header: part.is_first().then_some(0),
            ends: part.is_last(),
        });
        Ok(())
    }

    /// A member with uncompressed contents.
    fn member<'a>(&self, entry: &'a Entry) -> (Member<'a>, Hasher) {
        let mut crc = Hasher::new();
        crc.update(&self.contents);
        let member = Member {
            entry,
            method: DEFLATED,
            crc: crc.clone().finalize(),
            length: self.contents.len() as u64,
            packed: 0,
            lengths_follow: entry.size() > PART,
        };
        (member, crc)
    }

    /// Compresses the contents. A part that is not the last ends on a byte boundary, so that the next part can follow.
    fn deflate(&mut self, last: bool, out: &mut Vec<u8>) -> Result<()> {
        self.deflate.reset();
        let flush = if last {
            FlushCompress::Finish
        } else {
            FlushCompress::Sync
        };
        out.reserve(self.contents.len() / 2 + 1024);
        loop {
            let read = usize::try_from(self.deflate.total_in())?;
            let status = self
                .deflate
                .compress_vec(&self.contents[read..], out, flush)
                .context("cannot compress")?;
            // The compressor left room in the buffer, so it has nothing more to write.
            if status == Status::StreamEnd || (!last && out.len() < out.capacity()) {
                return Ok(());
            }
            out.reserve(out.capacity().max(1024));
        }
    }
}

/// An archive that is being written.
struct Archive<'a, W> {
    out: &'a mut W,
    written: u64,
    /// The central directory so far.
    directory: Vec<u8>,
    count: u64,
    /// A file whose end has not been written, and the offset of its header.
    open: Option<(Placed<'a>, u64)>,
}

impl<'a, W: Write> Archive<'a, W> {
    fn add(&mut self, piece: Piece<'a>) -> Result<()> {
        let begin = self.written;
        self.put(&piece.bytes)?;
        for part in piece.members {
            let (placed, at) = match (self.open.take(), part.header) {
                (Some((mut whole, at)), None) => {
                    whole.crc.combine(&part.crc);
                    whole.member.length += part.member.length;
                    whole.member.packed += part.member.packed;
                    whole.ends = part.ends;
                    (whole, at)
                }
                (_, header) => (part, begin + header.unwrap_or_default()),
            };
            if placed.ends {
                self.close(placed, at)?;
            } else {
                self.open = Some((placed, at));
            }
        }
        Ok(())
    }

    /// Writes the lengths after a member, and adds it to the directory.
    fn close(&mut self, placed: Placed, at: u64) -> Result<()> {
        let mut member = placed.member;
        member.crc = placed.crc.finalize();
        self.put(&descriptor(&member))?;
        central(&member, at, &mut self.directory);
        self.count += 1;
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        let at = self.written;
        let directory = std::mem::take(&mut self.directory);
        self.put(&directory)?;
        self.put(&end(self.count, at, directory.len() as u64))?;
        self.out.flush().context("cannot write the archive")
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.written += bytes.len() as u64;
        self.out
            .write_all(bytes)
            .context("cannot write the archive")
    }
}
