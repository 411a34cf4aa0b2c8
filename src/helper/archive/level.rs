//! How hard archives are compressed, in the words of jobs.

use flate2::Compression;
use serde::{Deserialize, Serialize};

/// How hard an archive is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As fast as can be.
    Fastest,
    /// Faster than usual.
    Fast,
    /// What costs less time than it saves.
    #[default]
    Default,
    /// Smaller than usual.
    Slow,
    /// As small as can be in a time that is still of use.
    Slowest,
}

impl Level {
    /// All of them, by their words.
    pub const ALL: [(&'static str, Self); 5] = [
        ("default", Self::Default),
        ("fastest", Self::Fastest),
        ("fast", Self::Fast),
        ("slow", Self::Slow),
        ("slowest", Self::Slowest),
    ];

    /// Whether nothing has to be said of it.
    #[must_use]
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
    pub fn is_default(&self) -> bool {
        *self == Self::Default
    }

    /// The level of the format of zip and gzip.
    pub(super) fn deflate(self) -> Compression {
        Compression::new(match self {
            Self::Fastest => 1,
            Self::Fast => 2,
            Self::Default => 4,
            Self::Slow => 6,
            Self::Slowest => 9,
        })
    }

    /// The level of zstd.
    pub(super) fn zstd(self) -> i32 {
        match self {
            Self::Fastest => 1,
            Self::Fast => 2,
            Self::Default => 3,
            Self::Slow => 9,
            Self::Slowest => 15,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::fs;

    use super::Level;
    use crate::helper::archive::select::select;
    use crate::helper::archive::tree::Tree;
    use crate::helper::archive::{frames, zipped};

    #[test]
    fn what_takes_longer_is_smaller() {
        let root = tempfile::tempdir().expect("a directory");
        let mut text = String::new();
        for number in 0..20_000_u64 {
            let _ = writeln!(text, "line {}", number.wrapping_mul(0x9E37_79B9) % 9973);
        }
        fs::write(root.path().join("file"), text).expect("written");
        let tree = Tree::open(root.path()).expect("open");
        let selected = select(&tree, &["file".to_owned()], false, &[]).expect("selected");
        let [fastest, slowest] = [Level::Fastest, Level::Slowest].map(|level| {
            let (mut zip, mut framed) = (Vec::new(), Vec::new());
            zipped::write(level, &tree, &selected.entries, &mut zip).expect("written");
            frames::write(level, &tree, &selected.entries, &mut framed).expect("written");
            [zip.len(), framed.len()]
        });
        assert!(
            slowest[0] < fastest[0] && slowest[1] < fastest[1],
            "{slowest:?} {fastest:?}"
        );
    }
}
