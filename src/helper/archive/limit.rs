//! How much an archive may unpack to, so that a small one cannot fill the disk. An archive may come from another job,
//! whose author need not be trusted.

use anyhow::{Result, bail};

/// The job's variable that sets another limit, in megabytes of 1,000,000 bytes.
pub const LIMIT_VARIABLE: &str = "RUNNER_UNPACK_LIMIT";

/// Without that variable, an archive may unpack to this many bytes (1 GiB) and `PER_ARCHIVED_BYTE` for each of its own.
/// Even text that repeats itself much rarely shrinks to less than a two-hundredth; zeros shrink to a thousandth.
const ALWAYS_ALLOWED: u64 = 1 << 30;
const PER_ARCHIVED_BYTE: u64 = 200;
/// How many bytes an entry (a file, link or directory) counts in addition to its contents: millions of empty files fill
/// a disk too. It is the size of a block on most file systems.
const PER_ENTRY: u64 = 4096;

/// How much may be unpacked, in bytes. `u64::MAX` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(u64);

impl Limit {
    /// The limit for an archive of `archive_size` bytes. `variable` is the value of [`LIMIT_VARIABLE`], if it is set; 0
    /// is no limit. Without it, the limit is 1 GiB plus 200 times the archive's size.
    #[must_use]
    pub fn new(variable: Option<u64>, archive_size: u64) -> Self {
        Self(match variable {
            Some(0) => u64::MAX,
            Some(megabytes) => megabytes.saturating_mul(1_000_000),
            None => archive_size
                .saturating_mul(PER_ARCHIVED_BYTE)
                .saturating_add(ALWAYS_ALLOWED),
        })
    }

    /// Checks that all that has been unpacked so far is within the limit: the bytes of the contents, and the number of
    /// entries.
    ///
    /// # Errors
    /// A message with the limit, and how to set another one.
    pub fn check(self, bytes: u64, entries: u64) -> Result<()> {
        let counted = entries.saturating_mul(PER_ENTRY).saturating_add(bytes);
        if counted > self.0 {
            bail!(
                "it unpacks to more than {} MB, which is the limit for it; where that is right, set the variable \
                 {LIMIT_VARIABLE} to the megabytes it may take, 0 for no limit",
                self.0 / 1_000_000
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Limit;

    #[test]
    fn the_limit_is_the_variables_else_a_gib_and_200_times_the_archive() {
        let by_size = Limit::new(None, 1000);
        assert!(by_size.check((1 << 30) + 200_000, 0).is_ok());
        assert!(by_size.check((1 << 30) + 200_001, 0).is_err());
        let megabyte = Limit::new(Some(1), 1 << 40);
        assert!(megabyte.check(1_000_000, 0).is_ok());
        assert!(megabyte.check(1_000_001, 0).is_err());
        assert!(megabyte.check(1_000_000 - 4096, 1).is_ok());
        assert!(megabyte.check(1_000_000 - 4096, 2).is_err());
        assert!(Limit::new(Some(0), 0).check(u64::MAX, 1).is_ok());
    }
}
