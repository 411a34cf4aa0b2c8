//! Which host this is, for a coordinator that knows several by one token.

use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::{directory, make};
use crate::partial;

/// The file in the state directory with the id of a host that has no other.
const FILE: &str = "system-id";
/// How many letters and digits follow the prefix.
const LENGTH: usize = 12;

/// The id of this host: `s_` and a digest of the machine's id, else `r_` and what is in the state directory, where it is
/// made by chance. Where that cannot be kept, it is another one the next time.
#[must_use]
pub fn system_id() -> String {
    let machine = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let machine = machine.trim();
    if machine.is_empty() || machine == "uninitialized" {
        return kept(directory().ok().as_deref());
    }
    // The machine's id itself is not for others.
    let digest = Sha256::digest(format!("alloy-runner\n{machine}"));
    format!("s_{}", &hex::encode(digest)[..LENGTH])
}

fn kept(directory: Option<&Path>) -> String {
    let file = directory.map(|directory| directory.join(FILE));
    let known = file
        .as_deref()
        .and_then(|file| fs::read_to_string(file).ok());
    if let Some(id) = known.map(|text| text.trim().to_owned())
        && is_good(&id)
    {
        return id;
    }
    let id: String = (0..LENGTH).map(|_| fastrand::alphanumeric()).collect();
    let id = format!("r_{id}");
    if let (Some(directory), Some(file)) = (directory, &file) {
        let written = make(directory).and_then(|()| Ok(partial::write(file, id.as_bytes())?));
        if let Err(error) = written {
            let file = file.display();
            log::warn!("cannot write {file}: {error:#}; this host has another id the next time");
        }
    }
    id
}

fn is_good(id: &str) -> bool {
    let rest = id.strip_prefix("r_").unwrap_or_default();
    rest.len() == LENGTH && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::{FILE, is_good, kept, system_id};
    use std::fs;

    #[test]
    fn a_host_keeps_its_id() {
        assert_eq!(system_id().len(), 14);
        assert!(
            ["s_", "r_"]
                .iter()
                .any(|prefix| system_id().starts_with(prefix))
        );
        let directory = tempfile::tempdir().expect("a directory");
        let below = directory.path().join("state");
        let id = kept(Some(&below));
        assert!(is_good(&id), "{id}");
        assert_eq!(kept(Some(&below)), id);
        fs::write(below.join(FILE), "r_../../x").expect("written");
        assert!(is_good(&kept(Some(&below))));
        assert!(is_good(&kept(None)));
    }
}
