//! Which state directory this is. A copy of one (a restored backup, an image with one in it) is another one: it knows
//! nothing of the processes that live with the first, and must not take their things for what the dead left.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use uuid::Uuid;

use crate::partial;

/// A state directory's identity.
pub(super) struct Identity {
    /// Tells it from all others, and from itself before the host was started again.
    pub id: String,
    /// What labels are sealed with.
    pub key: Vec<u8>,
    place: Place,
}

/// Where a directory is.
#[derive(PartialEq, Eq)]
struct Place {
    boot: String,
    device: u64,
    inode: u64,
}

impl Place {
    fn of(directory: &Path) -> io::Result<Self> {
        let data = fs::metadata(directory)?;
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Ok(Self {
            boot: boot.trim().to_owned(),
            device: data.dev(),
            inode: data.ino(),
        })
    }

    /// Whether it is the same directory, maybe before the host was started: some file systems have another device
    /// number after that.
    fn is_of_same_directory(&self, other: &Self) -> bool {
        self.inode == other.inode && (self.device == other.device || self.boot != other.boot)
    }
}

impl Identity {
    /// The identity of a directory, made on first use, and anew where the directory was copied or the host started.
    pub fn of(directory: &Path) -> io::Result<Self> {
        let here = Place::of(directory)?;
        let read = || Self::read(&directory.join("id"));
        if let Some(known) = read()?
            && known.place == here
        {
            return Ok(known);
        }
        // One process makes it: the others wait at the directory itself.
        let lock = File::open(directory)?;
        lock.lock()?;
        let known = read()?;
        let key = match known {
            Some(known) if known.place == here => return Ok(known),
            Some(known) if known.place.is_of_same_directory(&here) => known.key,
            Some(_) => {
                log::warn!(
                    "{} is a copy of another state directory: it begins anew",
                    directory.display()
                );
                forget_processes(directory)?;
                new_key()
            }
            None => new_key(),
        };
        let identity = Self {
            id: Uuid::new_v4().to_string(),
            key,
            place: here,
        };
        identity.write(directory)?;
        Ok(identity)
    }

    /// What the file says; nothing where it does not say all.
    fn read(file: &Path) -> io::Result<Option<Self>> {
        let text = match fs::read_to_string(file) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        let parse = || {
            let mut lines = text.lines();
            Some(Self {
                id: Uuid::parse_str(lines.next()?).ok()?.to_string(),
                place: Place {
                    boot: lines.next()?.to_owned(),
                    device: lines.next()?.parse().ok()?,
                    inode: lines.next()?.parse().ok()?,
                },
                key: hex::decode(lines.next()?).ok()?,
            })
        };
        Ok(parse())
    }

    fn write(&self, directory: &Path) -> io::Result<()> {
        let Place {
            boot,
            device,
            inode,
        } = &self.place;
        let key = hex::encode(&self.key);
        let text = format!("{}\n{boot}\n{device}\n{inode}\n{key}\n", self.id);
        partial::write(&directory.join("id"), text.as_bytes())
    }
}

fn new_key() -> Vec<u8> {
    [Uuid::new_v4(), Uuid::new_v4()]
        .iter()
        .flat_map(|uuid| *uuid.as_bytes())
        .collect()
}

/// Removes what the copied directory says of processes: they are those of the other one, which may live.
fn forget_processes(directory: &Path) -> io::Result<()> {
    for name in ["processes", "files"] {
        for entry in fs::read_dir(directory.join(name)).into_iter().flatten() {
            let path = entry?.path();
            if path.is_dir() {
                fs::remove_dir_all(path)?;
            } else {
                fs::remove_file(path)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Identity;
    use std::fs;

    #[test]
    fn an_identity_stays_with_its_directory() {
        let directory = tempfile::tempdir().expect("a directory");
        let (one, other) = (directory.path().join("one"), directory.path().join("other"));
        fs::create_dir_all(one.join("processes")).expect("made");
        fs::create_dir_all(other.join("processes")).expect("made");
        let of = |path| Identity::of(path).expect("an identity");
        let first = of(&one);
        assert_eq!(first.id, of(&one).id);
        // A copy.
        fs::write(one.join("processes/x"), "").expect("written");
        fs::write(other.join("processes/x"), "").expect("written");
        fs::copy(one.join("id"), other.join("id")).expect("copied");
        let copy = of(&other);
        assert!(copy.id != first.id && copy.key != first.key);
        assert!(!other.join("processes/x").exists());
        // The host was started again.
        let text = fs::read_to_string(one.join("id")).expect("there");
        let mut lines: Vec<&str> = text.lines().collect();
        lines[1] = "another-boot";
        fs::write(one.join("id"), lines.join("\n")).expect("written");
        let later = of(&one);
        assert!(later.id != first.id && later.key == first.key);
        assert!(one.join("processes/x").exists());
        // Damaged, or of an earlier version.
        fs::write(one.join("id"), "00000000-0000-0000-0000-000000000000").expect("written");
        assert_ne!(of(&one).id, "00000000-0000-0000-0000-000000000000");
    }
}
