//! Labels that only processes of one state directory can make.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Seals what a runner makes on an engine with a key of its state directory. Everybody who may use the engine reads
/// labels, and can give them to things of their own; a seal is good for the name only that it was made for.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Seal(Vec<u8>);

impl Seal {
    /// One with this key.
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        Self(key.to_vec())
    }

    /// The seal on what a process made by this name; empty without a key.
    #[must_use]
    pub fn of(&self, process: &str, name: &str) -> String {
        // It takes keys of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else {
            return String::new();
        };
        if self.0.is_empty() {
            return String::new();
        }
        mac.update(process.as_bytes());
        mac.update(b"\0");
        mac.update(name.as_bytes());
        hex::encode(&mac.finalize().into_bytes()[..16])
    }

    /// Whether this is the seal on it.
    #[must_use]
    pub fn is(&self, seal: &str, process: &str, name: &str) -> bool {
        !seal.is_empty() && seal == self.of(process, name)
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal")
    }
}

#[cfg(test)]
mod tests {
    use super::Seal;

    #[test]
    fn a_seal_is_good_for_one_name_and_one_key() {
        let (ours, theirs) = (Seal::new(b"key"), Seal::new(b"other"));
        let seal = ours.of("process", "name");
        assert!(ours.is(&seal, "process", "name"));
        assert!(!ours.is(&seal, "process", "name2") && !ours.is(&seal, "process2", "name"));
        assert!(!theirs.is(&seal, "process", "name"));
        assert!(
            !Seal::default().is("", "process", "name"),
            "no key, no seal"
        );
    }
}
