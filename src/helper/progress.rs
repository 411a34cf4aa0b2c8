//! Reports the progress of a long transfer.

use std::io::{self, Read};
use std::time::{Duration, Instant};

/// The time between two reports.
const PAUSE: Duration = Duration::from_secs(10);

/// A reader that counts the bytes and reports the progress on stderr.
pub struct Progress<R> {
    inner: R,
    /// The word for what is done with the bytes: `uploaded`.
    done: &'static str,
    total: Option<u64>,
    bytes: u64,
    began: Instant,
    said: Instant,
}

impl<R> Progress<R> {
    /// Starts to count. `total` is the number of bytes to come, if it is known.
    pub fn new(inner: R, done: &'static str, total: Option<u64>) -> Self {
        let began = Instant::now();
        Self {
            inner,
            done,
            total,
            bytes: 0,
            began,
            said: began,
        }
    }
}

impl<R: Read> Read for Progress<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.bytes += length as u64;
        if self.said.elapsed() >= PAUSE {
            self.said = Instant::now();
            eprintln!(
                "  {}",
                line(self.done, self.bytes, self.total, self.began.elapsed())
            );
        }
        Ok(length)
    }
}

fn line(done: &str, bytes: u64, total: Option<u64>, time: Duration) -> String {
    let of = total.map(|total| format!(" of {}", megabytes(total)));
    let speed = u128::from(bytes) * 1000 / time.as_millis().max(1);
    format!(
        "{done} {}{}, {}/s",
        megabytes(bytes),
        of.unwrap_or_default(),
        megabytes(u64::try_from(speed).unwrap_or(u64::MAX))
    )
}

/// The contents of an archive in words: `3 files, 1.2 MB`.
pub fn contents(files: usize, bytes: u64) -> String {
    let files = match files {
        1 => "1 file".to_owned(),
        files => format!("{files} files"),
    };
    format!("{files}, {}", megabytes(bytes))
}

/// A number of bytes in words: `120 kB`, `1.2 MB`.
fn megabytes(bytes: u64) -> String {
    if bytes < 1_000_000 {
        format!("{} kB", bytes.div_ceil(1000))
    } else {
        format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10)
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, line};

    #[test]
    fn lines_say_how_much_of_what_and_how_fast() {
        let time = Duration::from_secs(10);
        assert_eq!(
            line("uploaded", 120_500_000, Some(512_000_000), time),
            "uploaded 120.5 MB of 512.0 MB, 12.0 MB/s"
        );
        assert_eq!(
            line("downloaded", 4200, None, time),
            "downloaded 5 kB, 1 kB/s"
        );
    }
}
