//! Writes cache archives: a tar file in zstd frames, which can be written and read independently of each other.
//!
//! Before each frame is a small frame that all zstd decoders skip. It contains the length of the next frame, and
//! whether that frame continues a file. So all cores can work on one archive, and `zstd -d | tar -x` can read it, too.

use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use tar::{EntryType, Header};
use zstd::bulk::Compressor;

use super::level::Level;
use super::parallel::ordered;
use super::tree::{Tree, Way};
use super::units::{Part, Unit, read, units};
use super::{Entry, Kind};

/// The magic number of one of zstd's skippable frames.
pub(super) const MAGIC: u32 = 0x184D_2A5C;
/// The length of its contents: the length of the next frame, and 1 if that frame continues a file.
pub(super) const CONTENTS: u32 = 8;
pub(super) const HEADER: usize = 16;
/// How much of the tar file is in a frame, in bytes.
pub(super) const FRAME: usize = 2 << 20;
pub(super) const BLOCK: usize = 512;
/// The end of a tar file, which is a frame of its own.
pub(super) const END: [u8; BLOCK * 2] = [0; BLOCK * 2];

struct Frame {
    bytes: Vec<u8>,
    goes_on: bool,
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
        let mut compressor = compressor(level)?;
        let (changed, mut tar) = (&changed, Vec::with_capacity(FRAME + FRAME / 4));
        let mut way = tree.way();
        Ok(move |unit: Unit| {
            tar.clear();
            let warnings = render(&mut way, &unit, &mut tar)?;
            changed
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend(warnings);
            let bytes = compressor.compress(&tar).context("cannot compress")?;
            let goes_on = matches!(unit, Unit::Part(part) if !part.is_first());
            Ok(Frame { bytes, goes_on })
        })
    };
    let units = units(entries, FRAME as u64, BLOCK as u64 * 2);
    ordered(units, worker, |frame: Frame| frame.write(out))?;
    let end = Frame {
        bytes: compressor(level)?
            .compress(&END)
            .context("cannot compress")?,
        goes_on: false,
    };
    end.write(out)?;
    Ok(changed.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn compressor(level: Level) -> Result<Compressor<'static>> {
    let mut compressor = Compressor::new(level.zstd()).context("cannot use zstd")?;
    compressor
        .include_checksum(true)
        .context("cannot use zstd")?;
    Ok(compressor)
}

impl Frame {
    fn write(&self, out: &mut impl Write) -> Result<()> {
        let length = u32::try_from(self.bytes.len()).context("a frame is too long")?;
        let mut header = [0; HEADER];
        let fields = [MAGIC, CONTENTS, length, u32::from(self.goes_on)];
        for (at, value) in fields.iter().enumerate() {
            header[at * 4..][..4].copy_from_slice(&value.to_le_bytes());
        }
        let failed = "cannot write the archive";
        out.write_all(&header).context(failed)?;
        out.write_all(&self.bytes).context(failed)
    }
}

/// Writes a unit's part of the tar file. Returns warnings about files that changed meanwhile.
fn render(way: &mut Way, unit: &Unit, tar: &mut Vec<u8>) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    match unit {
        Unit::Entries(entries) => {
            for entry in *entries {
                let begin = tar.len();
                // The header has the length that was read, so it is written after the contents.
                tar.resize(begin + headers(entry), 0);
                let from = tar.len();
                if entry.size() > 0
                    && let Some(changed) = read(way, &Part::whole(entry), tar)?
                {
                    warnings.push(changed.warning);
                    if changed.gone {
                        tar.truncate(begin);
                        continue;
                    }
                }
                let mut header = Vec::new();
                write_headers(entry, (tar.len() - from) as u64, &mut header);
                tar[begin..from].copy_from_slice(&header);
                pad(tar);
            }
        }
        Unit::Part(part) => {
            if part.is_first() {
                write_headers(part.entry, part.entry.size(), tar);
            }
            let begin = tar.len();
            let changed = read(way, part, tar)?;
            warnings.extend(changed.map(|changed| changed.warning));
            // The header with its length has been written.
            tar.resize(begin + usize::try_from(part.length)?, 0);
            if part.is_last() {
                pad(tar);
            }
        }
    }
    Ok(warnings)
}

fn pad(tar: &mut Vec<u8>) {
    tar.resize(tar.len().next_multiple_of(BLOCK), 0);
}

/// The length of the headers of an entry, in bytes.
fn headers(entry: &Entry) -> usize {
    let mut length = BLOCK;
    for text in [Some(entry.path.as_os_str()), target(entry)]
        .into_iter()
        .flatten()
    {
        if text.len() > SHORT {
            length += BLOCK + (text.len() + 1).next_multiple_of(BLOCK);
        }
    }
    length
}

/// The longest name that fits into a header.
const SHORT: usize = 99;

fn target(entry: &Entry) -> Option<&std::ffi::OsStr> {
    match &entry.kind {
        Kind::Link(target) => Some(target),
        _ => None,
    }
}

/// The headers of an entry, as GNU tar writes them.
fn write_headers(entry: &Entry, size: u64, tar: &mut Vec<u8>) {
    let mut header = Header::new_gnu();
    header.set_mode(entry.stat.mode);
    header.set_uid(entry.stat.uid.into());
    header.set_gid(entry.stat.gid.into());
    header.set_mtime(u64::try_from(entry.stat.mtime).unwrap_or(0));
    header.set_size(size);
    header.set_entry_type(match entry.kind {
        Kind::File(_) => EntryType::Regular,
        Kind::Directory => EntryType::Directory,
        Kind::Link(_) => EntryType::Symlink,
    });
    let long = [
        (EntryType::GNULongLink, target(entry).unwrap_or_default()),
        (EntryType::GNULongName, entry.path.as_os_str()),
    ];
    for (kind, text) in long {
        let bytes = text.as_bytes();
        let fields = header.as_old_mut();
        let field = if kind == EntryType::GNULongName {
            &mut fields.name
        } else {
            &mut fields.linkname
        };
        let short = bytes.len().min(SHORT);
        field[..short].copy_from_slice(&bytes[..short]);
        if bytes.len() > SHORT {
            let mut extra = Header::new_gnu();
            extra.as_old_mut().name[..13].copy_from_slice(b"././@LongLink");
            extra.set_entry_type(kind);
            extra.set_mode(0);
            extra.set_size(bytes.len() as u64 + 1);
            extra.set_cksum();
            tar.extend_from_slice(extra.as_bytes());
            tar.extend_from_slice(bytes);
            tar.push(0);
            pad(tar);
        }
    }
    header.set_cksum();
    tar.extend_from_slice(header.as_bytes());
}
