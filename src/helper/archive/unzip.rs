//! Unpacks zip files, which may come from any program and be damaged or hostile.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context, Result, anyhow, bail};
use zip::ZipArchive;
use zip::extra_fields::ExtraField;

use super::parallel::on_all_cores;
use super::unpack::{Target, Unpacker};
use super::{Stat, inside};

/// The longest target of a link.
const LINK: u64 = 4096;

/// The longest directory of a zip file, in bytes: some 500,000 files. In memory it takes eight times as much.
const DIRECTORY: u64 = 64 << 20;

/// The kind of an entry, as its header declares it.
struct Known {
    index: usize,
    path: PathBuf,
    kind: Kind,
    stat: Stat,
}

#[derive(PartialEq)]
enum Kind {
    File,
    Directory,
    Link,
}

/// The result of unpacking an archive.
#[derive(Debug, Default)]
pub struct Unpacked {
    /// How many files and links.
    pub files: usize,
    /// How many bytes the files have.
    pub bytes: u64,
    /// The entries that are left out, and why.
    pub left_out: Vec<String>,
}

/// Unpacks an archive. All entries are checked before anything is written: if one is refused, nothing is unpacked.
///
/// # Errors
/// If it is no archive, damaged or refused, or something cannot be written.
pub fn read(file: File, target: Target) -> Result<Unpacked> {
    let at = At::new(file);
    let opening = at.opening.clone();
    let archive = ZipArchive::new(at).context("it is not a zip file, or damaged")?;
    opening.store(false, Ordering::Relaxed);
    let (known, left_out) = inspect(&mut archive.clone(), &target)?;
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    // A few at a time: the next entries are near each other in the file.
    let batches: Vec<&[Known]> = known.chunks(32).collect();
    let work = || -> Result<()> {
        let mut archive = archive.clone();
        let mut unpacker = target.unpacker();
        while !failed.load(Ordering::Relaxed) {
            let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) else {
                break;
            };
            for known in *batch {
                let done = unpack(&mut archive, known, &mut unpacker);
                if done.is_err() {
                    failed.store(true, Ordering::Relaxed);
                }
                done.with_context(|| format!("cannot unpack {}", known.path.display()))?;
            }
        }
        Ok(())
    };
    on_all_cores(work)?;
    Ok(Unpacked {
        bytes: target.bytes(),
        files: target.finish()?,
        left_out,
    })
}

/// Checks every entry. Returns the entries to unpack, and those that are left out.
fn inspect(archive: &mut ZipArchive<At>, to: &Target) -> Result<(Vec<Known>, Vec<String>)> {
    let mut known = Vec::with_capacity(archive.len());
    let mut left_out = Vec::new();
    let mut bytes = 0_u64;
    for index in 0..archive.len() {
        let mut entry = archive
            .by_index_raw(index)
            .context("the zip file is damaged")?;
        let name = entry.name_raw().to_vec();
        let refused = |why: &str| anyhow!("`{}` is refused: {why}", String::from_utf8_lossy(&name));
        let path = inside::name(&name).map_err(refused)?;
        if entry.encrypted() {
            return Err(refused("it is encrypted"));
        }
        bytes = bytes.saturating_add(entry.size());
        to.limit().check(bytes, index as u64 + 1)?;
        let mode = entry.unix_mode();
        let kind = match mode.map_or(0, |mode| mode & 0o170_000) {
            0o040_000 => Kind::Directory,
            0o120_000 => Kind::Link,
            0o100_000 | 0 if name.ends_with(b"/") => Kind::Directory,
            0o100_000 | 0 => Kind::File,
            0o010_000 => return Err(refused("a pipe")),
            0o140_000 => return Err(refused("a socket")),
            _ => return Err(refused("a device")),
        };
        if path.as_os_str().is_empty() {
            if kind == Kind::Directory {
                continue;
            }
            return Err(refused("its name is empty"));
        }
        // Entries from a system without modes get the usual ones.
        let usual = if kind == Kind::Directory {
            0o755
        } else {
            0o644
        };
        let mut stat = Stat {
            mode: mode.map_or(usual, |mode| mode & 0o777),
            ..Stat::default()
        };
        stat.mtime = mtime(&entry);
        (stat.uid, stat.gid) = owner(&entry);
        let is_link = kind == Kind::Link;
        known.push(Known {
            index,
            path,
            kind,
            stat,
        });
        if is_link {
            drop(entry);
            entry = archive.by_index(index).context("the zip file is damaged")?;
            let path = known.last().map_or(Path::new(""), |known| &known.path);
            let target = link(&mut entry)?;
            match to.check_link(path, &target) {
                Err(why) if to.leaves_links_out() => {
                    left_out.push(format!("{} is left out: {why}", path.display()));
                    known.pop();
                }
                checked => checked.map_err(|why| refused(&why))?,
            }
        }
    }
    Ok((known, left_out))
}

fn link(entry: &mut impl Read) -> Result<OsString> {
    let mut target = Vec::new();
    entry
        .take(LINK)
        .read_to_end(&mut target)
        .context("the zip file is damaged")?;
    Ok(OsString::from_vec(target))
}

fn unpack(archive: &mut ZipArchive<At>, known: &Known, unpacker: &mut Unpacker) -> Result<()> {
    if known.kind == Kind::Directory {
        return unpacker.directory(&known.path, &known.stat);
    }
    let mut entry = archive.by_index(known.index)?;
    if known.kind == Kind::Link {
        return unpacker.link(&known.path, link(&mut entry)?, &known.stat);
    }
    let said = entry.size();
    let mut contents = entry.take(said.saturating_add(1));
    unpacker.file(&known.path, &known.stat, &mut contents)?;
    if contents.limit() == 0 {
        bail!("it is longer than the {said} bytes that the archive says");
    }
    Ok(())
}

type Entry<'a> = zip::read::ZipFile<'a, At>;

/// The time of an entry's last change: exact from a field for Unix, else the DOS time, which has no time zone.
fn mtime(entry: &Entry) -> i64 {
    let exact = entry.extra_data_fields().find_map(|field| match field {
        ExtraField::ExtendedTimestamp(time) => time.mod_time(),
        _ => None,
    });
    if let Some(time) = exact {
        return i64::from(time.cast_signed());
    }
    let Some(time) = entry.last_modified() else {
        return 0;
    };
    let field = |number: u8| i8::try_from(number).unwrap_or_default();
    let date = jiff::civil::DateTime::new(
        i16::try_from(time.year()).unwrap_or_default(),
        field(time.month()),
        field(time.day()),
        field(time.hour()),
        field(time.minute()),
        field(time.second()),
        0,
    );
    let time = date.and_then(|date| date.to_zoned(jiff::tz::TimeZone::UTC));
    time.map_or(0, |time| time.timestamp().as_second())
}

/// User and group of an entry, from the field `ux`.
fn owner(entry: &Entry) -> (u32, u32) {
    let number = |bytes: &[u8]| {
        bytes.iter().rev().try_fold(0_u32, |number, byte| {
            number.checked_mul(256)?.checked_add(u32::from(*byte))
        })
    };
    let find = || {
        let extra = entry.extra_data()?;
        let mut rest = extra.as_slice();
        while let [a, b, low, high, more @ ..] = rest {
            let (field, behind) =
                more.split_at_checked(usize::from(u16::from_le_bytes([*low, *high])))?;
            if [*a, *b] == *b"ux" {
                let [1, length, more @ ..] = field else {
                    return None;
                };
                let (uid, more) = more.split_at_checked(usize::from(*length))?;
                let [length, more @ ..] = more else {
                    return None;
                };
                let (gid, _) = more.split_at_checked(usize::from(*length))?;
                return Some((number(uid)?, number(gid)?));
            }
            rest = behind;
        }
        None
    };
    find().unwrap_or_default()
}

/// A file that several threads read, each with a position of its own.
#[derive(Clone)]
struct At {
    file: Arc<File>,
    place: u64,
    /// Whether the directory is being read, of which only [`DIRECTORY`] bytes may be.
    opening: Arc<AtomicBool>,
    read: u64,
}

impl At {
    fn new(file: File) -> Self {
        Self {
            file: Arc::new(file),
            place: 0,
            opening: Arc::new(AtomicBool::new(true)),
            read: 0,
        }
    }
}

impl Read for At {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read_at(buffer, self.place)?;
        self.place += length as u64;
        if self.opening.load(Ordering::Relaxed) {
            self.read += length as u64;
            if self.read > DIRECTORY {
                return Err(io::Error::other(format!(
                    "its directory is longer than {} MB",
                    DIRECTORY >> 20
                )));
            }
        }
        Ok(length)
    }
}

impl Seek for At {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        let moved = match to {
            io::SeekFrom::Start(at) => Some(at),
            io::SeekFrom::Current(by) => self.place.checked_add_signed(by),
            io::SeekFrom::End(by) => self.file.metadata()?.len().checked_add_signed(by),
        };
        self.place = moved.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.place)
    }
}
