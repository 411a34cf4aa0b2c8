//! The headers of a zip file (PKWARE's APPNOTE.TXT, with Info-ZIP's fields for Unix).

use std::os::unix::ffi::OsStrExt;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{Entry, Kind};

pub const STORED: u16 = 0;
pub const DEFLATED: u16 = 8;

/// The value of a field of 4 bytes if the number does not fit into it and is in an extra field.
const LONG: u64 = u32::MAX as u64;
/// Room for a file that grows until it is packed, or gets longer by packing.
const NEARLY_LONG: u64 = LONG - (64 << 20);
/// The flag that the lengths follow after the file.
const LENGTHS_FOLLOW: u16 = 1 << 3;
const UTF8: u16 = 1 << 11;
/// Version 4.5 of the format, which has lengths of 8 bytes.
const VERSION: u16 = 45;
const MADE_ON_UNIX: u16 = VERSION | (3 << 8);

/// An entry of the archive.
pub struct Member<'a> {
    pub entry: &'a Entry,
    pub method: u16,
    pub crc: u32,
    pub length: u64,
    pub packed: u64,
    /// Whether its lengths follow after it: it is sent before they are known.
    pub lengths_follow: bool,
}

impl Member<'_> {
    /// Whether its lengths take 8 bytes.
    fn is_long(&self) -> bool {
        self.entry.size() >= NEARLY_LONG
    }

    /// Its name; the name of a directory ends with a slash.
    fn name(&self) -> Vec<u8> {
        let mut name = self.entry.path.as_os_str().as_bytes().to_vec();
        if self.entry.kind == Kind::Directory {
            name.push(b'/');
        }
        name
    }

    /// The fields that both headers have in common, from the required version on.
    fn fields(&self, known: bool, out: &mut Vec<u8>) {
        let mut flags = 0;
        if self.lengths_follow {
            flags |= LENGTHS_FOLLOW;
        }
        // A name in another encoding is written as it is.
        let name = self.entry.path.to_str();
        if name.is_some_and(|name| !name.is_ascii()) {
            flags |= UTF8;
        }
        let (time, date) = dos_time(self.entry.stat.mtime);
        for field in [VERSION, flags, self.method, time, date] {
            out.extend(field.to_le_bytes());
        }
        out.extend(if known { self.crc } else { 0 }.to_le_bytes());
        for length in [self.packed, self.length] {
            let length = match (self.is_long(), known) {
                (true, _) => u32::MAX,
                (false, true) => short(length),
                (false, false) => 0,
            };
            out.extend(length.to_le_bytes());
        }
    }

    /// Name and extra fields, after their lengths and other fields of the header.
    fn name_and_extra(&self, between: &[u8], long: &[u64], out: &mut Vec<u8>) {
        let name = self.name();
        let stat = &self.entry.stat;
        let mut extra = Vec::new();
        if let Ok(time) = i32::try_from(stat.mtime) {
            extra.extend(b"UT\x05\x00\x01");
            extra.extend(time.to_le_bytes());
        }
        extra.extend(b"ux\x0b\x00\x01");
        for id in [stat.uid, stat.gid] {
            extra.push(4);
            extra.extend(id.to_le_bytes());
        }
        if !long.is_empty() {
            extra.extend(1_u16.to_le_bytes());
            extra.extend(length(long.len() * 8));
            extra.extend(long.iter().flat_map(|number| number.to_le_bytes()));
        }
        out.extend(length(name.len()));
        out.extend(length(extra.len()));
        out.extend(between);
        out.extend(name);
        out.extend(extra);
    }
}

/// The local header, before a member.
pub fn local(member: &Member, out: &mut Vec<u8>) {
    out.extend(0x0403_4b50_u32.to_le_bytes());
    member.fields(!member.lengths_follow, out);
    let long: &[u64] = if member.is_long() { &[0, 0] } else { &[] };
    member.name_and_extra(&[], long, out);
}

/// The lengths after a member, if they are there.
pub fn descriptor(member: &Member) -> Vec<u8> {
    let mut out = Vec::new();
    if member.lengths_follow {
        out.extend(0x0807_4b50_u32.to_le_bytes());
        out.extend(member.crc.to_le_bytes());
        for length in [member.packed, member.length] {
            if member.is_long() {
                out.extend(length.to_le_bytes());
            } else {
                out.extend(short(length).to_le_bytes());
            }
        }
    }
    out
}

/// The header of a member in the central directory; its local header is at `at`.
pub fn central(member: &Member, at: u64, out: &mut Vec<u8>) {
    out.extend(0x0201_4b50_u32.to_le_bytes());
    out.extend(MADE_ON_UNIX.to_le_bytes());
    member.fields(true, out);
    let mut long = Vec::new();
    if member.is_long() {
        long.extend([member.length, member.packed]);
    }
    if at >= LONG {
        long.push(at);
    }
    let (kind, dos) = match member.entry.kind {
        Kind::File(_) => (0o100_000, 0),
        Kind::Directory => (0o040_000, 0x10),
        Kind::Link(_) => (0o120_000, 0),
    };
    let attributes: u32 = ((kind | member.entry.stat.mode) << 16) | dos;
    // No comment, and only one disk.
    let mut between = vec![0; 6];
    between.extend(attributes.to_le_bytes());
    between.extend(short(at).to_le_bytes());
    member.name_and_extra(&between, &long, out);
}

/// The end of an archive of this many members, with its directory of `length` bytes at `at`.
pub fn end(count: u64, at: u64, length: u64) -> Vec<u8> {
    let mut out = Vec::new();
    if count >= u64::from(u16::MAX) || at >= LONG || length >= LONG {
        out.extend(0x0606_4b50_u32.to_le_bytes());
        out.extend(44_u64.to_le_bytes());
        out.extend(MADE_ON_UNIX.to_le_bytes());
        out.extend(VERSION.to_le_bytes());
        out.extend([0; 8]);
        for number in [count, count, length, at] {
            out.extend(number.to_le_bytes());
        }
        out.extend(0x0706_4b50_u32.to_le_bytes());
        out.extend([0; 4]);
        out.extend((at + length).to_le_bytes());
        out.extend(1_u32.to_le_bytes());
    }
    out.extend(0x0605_4b50_u32.to_le_bytes());
    out.extend([0; 4]);
    let count = u16::try_from(count).unwrap_or(u16::MAX);
    for _ in 0..2 {
        out.extend(count.to_le_bytes());
    }
    out.extend(short(length).to_le_bytes());
    out.extend(short(at).to_le_bytes());
    out.extend([0; 2]);
    out
}

fn short(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// A length in 2 bytes, which is enough: a path of Linux has at most 4096.
fn length(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes()
}

/// A time in the form of DOS, in UTC, for programs that do not know the field for Unix.
fn dos_time(mtime: i64) -> (u16, u16) {
    let time = Timestamp::from_second(mtime).unwrap_or_default();
    let time = time.to_zoned(TimeZone::UTC);
    let field = |number: i8| u16::try_from(number).unwrap_or_default();
    // The years 1980 to 2107.
    match u16::try_from(time.year() - 1980) {
        Ok(year) if year < 128 => (
            (field(time.hour()) << 11) | (field(time.minute()) << 5) | (field(time.second()) / 2),
            (year << 9) | (field(time.month()) << 5) | field(time.day()),
        ),
        _ => (0, (1 << 5) | 1),
    }
}

#[cfg(test)]
mod tests {
    use super::dos_time;

    #[test]
    fn times_are_those_of_the_calendar() {
        let date = |year: u16, month: u16, day: u16| ((year - 1980) << 9) | (month << 5) | day;
        for (mtime, want) in [
            (
                1_709_164_799,
                ((23 << 11) | (59 << 5) | 0x1d, date(2024, 2, 28)),
            ),
            (1_709_164_800, (0, date(2024, 2, 29))),
            (315_532_800, (0, date(1980, 1, 1))),
            (0, (0, date(1980, 1, 1))),
        ] {
            assert_eq!(dos_time(mtime), want, "{mtime}");
        }
    }
}
