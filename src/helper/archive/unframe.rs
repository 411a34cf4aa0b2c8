//! Reads cache archives: those that [`frames`](super::frames) writes, and any other tar file in zstd.

use std::cell::Cell;
use std::ffi::OsStr;
use std::io::{self, Cursor, Read};
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, anyhow, bail};
use tar::EntryType;
use zstd::bulk::Decompressor;

use super::frames::{CONTENTS, END, FRAME, HEADER, MAGIC};
use super::parallel::on_all_cores;
use super::unpack::{Target, Unpacker};
use super::{Stat, inside};

/// The longest frame that is accepted.
const LONGEST: usize = 4 * FRAME;
/// How many bytes of headers may be between the contents of two files.
const METADATA: u64 = 1 << 20;

/// Unpacks an archive. An entry that is refused ends the unpacking.
///
/// # Errors
/// If it is damaged, incomplete or refused, or something cannot be written.
pub fn read(source: impl Read + Send, target: &Target) -> Result<()> {
    let mut frames = Frames::new(source);
    if !frames.peek()? {
        // An archive of another program, which one thread reads as a whole.
        let head = Cursor::new(std::mem::take(&mut frames.head));
        let decoder =
            zstd::Decoder::new(head.chain(frames.source)).context("it is not an archive")?;
        return members(decoder, &mut target.unpacker()).map(drop);
    }
    let (frames, ended, failed) = (
        Mutex::new(frames),
        AtomicBool::new(false),
        AtomicBool::new(false),
    );
    on_all_cores(|| {
        let result = unpack_frames(&frames, target, &ended, &failed);
        if result.is_err() {
            failed.store(true, Ordering::Relaxed);
        }
        result
    })?;
    if !ended.load(Ordering::Relaxed) {
        bail!("the archive is damaged: its end is missing");
    }
    Ok(())
}

fn unpack_frames<R: Read>(
    frames: &Mutex<Frames<R>>,
    target: &Target,
    ended: &AtomicBool,
    failed: &AtomicBool,
) -> Result<()> {
    let mut decompressor = Decompressor::new().context("cannot use zstd")?;
    let mut unpacker = target.unpacker();
    while !failed.load(Ordering::Relaxed) {
        let mut locked = frames.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(frame) = locked.next()? else { break };
        let goes_on = locked.goes_on;
        let tar = decompress(&mut decompressor, &frame)?;
        if tar == END {
            ended.store(true, Ordering::Relaxed);
            break;
        }
        if goes_on {
            let rest = Rest {
                tar: Cursor::new(tar),
                frames: &mut locked,
                decompressor: &mut decompressor,
            };
            members(rest, &mut unpacker)?;
        } else {
            drop(locked);
            members(Cursor::new(tar), &mut unpacker)?;
        }
    }
    Ok(())
}

fn decompress(decompressor: &mut Decompressor, frame: &[u8]) -> Result<Vec<u8>> {
    decompressor
        .decompress(frame, LONGEST)
        .context("the archive is damaged")
}

/// The frames of an archive, one after the other.
struct Frames<R> {
    source: R,
    /// The header of the next frame, as far as it has been read.
    head: Vec<u8>,
    /// Whether the next frame continues the file of the last one.
    goes_on: bool,
}

impl<R: Read> Frames<R> {
    fn new(source: R) -> Self {
        Self {
            source,
            head: Vec::new(),
            goes_on: false,
        }
    }

    /// Reads the next header. Returns whether it is one.
    fn peek(&mut self) -> Result<bool> {
        let want = HEADER - self.head.len();
        (&mut self.source)
            .take(want as u64)
            .read_to_end(&mut self.head)
            .context("cannot read the archive")?;
        Ok(self.head.len() == HEADER && self.field(0) == MAGIC && self.field(1) == CONTENTS)
    }

    fn field(&self, index: usize) -> u32 {
        let bytes = self.head.get(index * 4..index * 4 + 4);
        bytes
            .and_then(|bytes| bytes.try_into().ok())
            .map_or(0, u32::from_le_bytes)
    }

    /// Reads the next frame, if there is one.
    fn next(&mut self) -> Result<Option<Vec<u8>>> {
        if !self.peek()? {
            if self.head.is_empty() {
                return Ok(None);
            }
            bail!("the archive is damaged: a frame is missing");
        }
        let length = self.field(2) as usize;
        if length > LONGEST {
            bail!("the archive is damaged: a frame of {length} bytes");
        }
        self.head.clear();
        let mut frame = Vec::with_capacity(length);
        (&mut self.source)
            .take(length as u64)
            .read_to_end(&mut frame)
            .context("cannot read the archive")?;
        if frame.len() != length {
            bail!("the archive is damaged: its end is missing");
        }
        self.goes_on = self.peek()? && self.field(3) == 1;
        Ok(Some(frame))
    }
}

/// A file in several frames.
struct Rest<'a, 'd, R> {
    tar: Cursor<Vec<u8>>,
    frames: &'a mut Frames<R>,
    decompressor: &'a mut Decompressor<'d>,
}

impl<R: Read> Read for Rest<'_, '_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.tar.read(buffer)?;
        if length > 0 || !self.frames.goes_on {
            return Ok(length);
        }
        let failed = |error: anyhow::Error| io::Error::other(format!("{error:#}"));
        let frame = self.frames.next().map_err(failed)?.unwrap_or_default();
        self.tar = Cursor::new(decompress(self.decompressor, &frame).map_err(failed)?);
        self.tar.read(buffer)
    }
}

/// A reader that limits the headers of a tar file: names and attributes are held in memory, and a small compressed file
/// can contain any number of them.
struct Metered<R> {
    tar: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.tar.read(buffer)?;
        let left = self.left.get().checked_sub(length as u64);
        let Some(left) = left else {
            return Err(io::Error::other(
                "names and attributes of more than a megabyte",
            ));
        };
        self.left.set(left);
        Ok(length)
    }
}

/// Unpacks the entries of a part of a tar file.
fn members(tar: impl Read, unpacker: &mut Unpacker) -> Result<()> {
    let damaged = "the archive is damaged";
    let left = Rc::new(Cell::new(0));
    let metered = Metered {
        tar,
        left: left.clone(),
    };
    let mut archive = tar::Archive::new(metered);
    let mut entries = archive.entries().context(damaged)?;
    loop {
        left.set(METADATA);
        let Some(entry) = entries.next() else {
            return Ok(());
        };
        let mut entry = entry.context(damaged)?;
        // The contents of files are counted when they are written.
        left.set(u64::MAX);
        let name = entry.path_bytes().into_owned();
        let refused = |why: &str| anyhow!("`{}` is refused: {why}", String::from_utf8_lossy(&name));
        let path = inside::name(&name).map_err(refused)?;
        let header = entry.header();
        let number = |value: io::Result<u64>| {
            value
                .ok()
                .and_then(|value| u32::try_from(value).ok())
                .unwrap_or(0)
        };
        let stat = Stat {
            mode: header.mode().context(damaged)? & 0o777,
            mtime: i64::try_from(header.mtime().context(damaged)?).unwrap_or(0),
            uid: number(header.uid()),
            gid: number(header.gid()),
        };
        match header.entry_type() {
            // The directory itself exists, and its mode is kept.
            EntryType::Directory if path.as_os_str().is_empty() => {}
            _ if path.as_os_str().is_empty() => return Err(refused("its name is empty")),
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                unpacker.file(&path, &stat, &mut entry)?;
            }
            EntryType::Directory => unpacker.directory(&path, &stat)?,
            EntryType::Symlink => {
                let target = entry.link_name_bytes().unwrap_or_default().into_owned();
                let target = OsStr::from_bytes(&target).to_owned();
                unpacker.link(&path, target, &stat)?;
            }
            EntryType::Link => return Err(refused("a second name of another file")),
            EntryType::Char | EntryType::Block => return Err(refused("a device")),
            EntryType::Fifo => return Err(refused("a pipe")),
            EntryType::XGlobalHeader => {}
            other => {
                return Err(refused(&format!(
                    "of the unknown kind {:?}",
                    other.as_byte() as char
                )));
            }
        }
    }
}
