//! How much an archive may unpack to.

use anyhow::{Result, bail};

/// An archive may unpack to `FREE` bytes plus `TIMES` its own size.
const FREE: u64 = 1 << 30;
const TIMES: u64 = 200;
/// How many bytes a file, link or directory counts in addition to its contents.
const EACH: u64 = 4096;

/// How much may be unpacked, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(u64);

impl Limit {
    /// The limit for an archive of this size. `said` is the value of [`LIMIT_VARIABLE`], in megabytes (0: no limit);
    /// without it, the limit is 1 GiB plus 200 times the archive's size.
    #[must_use]
    pub fn new(said: Option<u64>, archive: u64) -> Self {
        Self(match said {
            Some(0) => u64::MAX,
            Some(megabytes) => megabytes.saturating_mul(1_000_000),
            None => archive.saturating_mul(TIMES).saturating_add(FREE),
        })
    }

    /// Checks that so many bytes in so many entries are within the limit.
    ///
    /// # Errors
    /// A message with the limit, and how to set another one.
    pub fn check(self, bytes: u64, entries: u64) -> Result<()> {
        let all = entries.saturating_mul(EACH).saturating_add(bytes);
        if all > self.0 {
            bail!(
                "it unpacks to more than {} MB, which is the limit for it; where that is right, set the variable \
                 {LIMIT_VARIABLE} to the megabytes it may take, 0 for no limit",
                self.0 / 1_000_000
            );
        }
        Ok(())
    }
}

/// The job's variable that sets the limit.
pub const LIMIT_VARIABLE: &str = "RUNNER_UNPACK_LIMIT";

#[cfg(test)]
mod tests {
    use super::Limit;

    #[test]
    fn there_is_a_limit() {
        assert!(Limit::new(None, 1000).check(1 << 30, 0).is_ok());
        assert!(
            Limit::new(None, 1000)
                .check((1 << 30) + 200_001, 0)
                .is_err()
        );
        assert!(Limit::new(Some(1), 1 << 40).check(1_000_001, 0).is_err());
        assert!(Limit::new(Some(0), 0).check(u64::MAX - 1, 1).is_ok());
    }
}
