//! What a job's containers, network and volumes are called and labelled (manual, "debugging").

use md5::{Digest, Md5};

use crate::docker::{Slot, Word};

/// Every label begins with it, and it alone says the runner's version.
pub const LABEL: &str = "com.alloy-ci.runner";

/// What is put before the name of a variable that cannot travel under its own.
const RENAMED: &str = "ALLOY_VARIABLE_";

/// The name under which a variable travels that cannot under its own. No client reads it: its end is no `_PROXY`.
pub(super) fn travel_name(name: &str) -> String {
    format!("{RENAMED}{name}_")
}

/// The name of the variable that travels under this one.
#[must_use]
pub fn own_name(name: &str) -> &str {
    let own = name.strip_prefix(RENAMED);
    own.and_then(|own| own.strip_suffix('_')).unwrap_or(name)
}

/// What the name of a project's volume of archives ends with.
const ARCHIVES: &str = "-cache-archives";
/// What the names of volumes end with that jobs of protected refs keep.
pub(super) const PROTECTED: &str = "-protected";

/// The slot of the prefix in a printed script.
pub const PREFIX: &str = "prefix";

/// How things of one run of a job are called.
#[derive(Clone, Debug)]
pub struct Names {
    /// What all of them begin with.
    pub prefix: Word,
    /// What those begin with that all jobs of the project share.
    pub project: Word,
    /// The runner's short token.
    pub short_token: String,
    /// `CI_CONCURRENT_ID`.
    pub concurrent_id: u32,
}

impl Names {
    /// The names of a run that holds this concurrent id.
    #[must_use]
    pub fn new(short_token: &str, project: u64, concurrent_id: u32) -> Self {
        let project = format!("runner-{short_token}-project-{project}");
        Self {
            prefix: format!("{project}-concurrent-{concurrent_id}").into(),
            project: project.into(),
            short_token: short_token.to_owned(),
            concurrent_id,
        }
    }

    /// Names that a shell makes up when it runs the plan as a script.
    #[must_use]
    pub fn of_script(short_token: &str) -> Self {
        Self {
            prefix: Slot::new(PREFIX).into(),
            project: Slot::new(PREFIX).into(),
            short_token: short_token.to_owned(),
            concurrent_id: 0,
        }
    }

    /// A container's name: `helper`, `build`, or a service's name and index.
    #[must_use]
    pub fn container(&self, part: &str) -> Word {
        self.prefix.clone().then(format!("-{part}"))
    }

    /// The volume of the sources, which lives as long as the job.
    #[must_use]
    pub fn builds_volume(&self) -> Word {
        self.prefix.clone().then("-builds")
    }

    /// The volume of the values of file variables, which lives as long as the job.
    #[must_use]
    pub fn files_volume(&self) -> Word {
        self.prefix.clone().then("-files")
    }

    /// The volume that keeps what is at `path` in the containers, an absolute path without a slash at its end.
    #[must_use]
    pub fn cache_volume(&self, path: &str) -> Word {
        self.prefix.clone().then(format!(
            "-cache-{}",
            hex::encode(Md5::digest(path.as_bytes()))
        ))
    }

    /// The volume of a job alone at `path`, as in [`Names::cache_volume`].
    #[must_use]
    pub fn job_volume(&self, path: &str) -> Word {
        self.cache_volume(path).then("-job")
    }

    /// The volume of a project's cache archives, whichever of its jobs wrote them.
    #[must_use]
    pub fn archives_volume(&self) -> Word {
        self.project.clone().then(ARCHIVES)
    }
}

/// What the names of all that one run of a job made begin with, where a name is one of those: what is sealed.
#[must_use]
pub fn prefix_of(name: &str) -> Option<&str> {
    let (before, rest) = name.strip_prefix("runner-")?.rsplit_once("-concurrent-")?;
    let (_, project) = before.rsplit_once("-project-")?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let behind = &rest[digits..];
    let ours = digits > 0 && is_number(project) && (behind.is_empty() || behind.starts_with('-'));
    ours.then(|| &name[..name.len() - behind.len()])
}

/// What the names of volumes begin with that hold the executable for build containers; the rest is a helper image's id.
const HOLD: &str = "alloy-runner-hold-";

/// How much of an id is in such a name: as much as docker shows of it in lists.
const SHORT_ID: usize = 12;

/// The name of the volume with the executable of a helper image, by that image's id.
#[must_use]
pub fn hold_volume(image_id: &str) -> String {
    let id = image_id.strip_prefix("sha256:").unwrap_or(image_id);
    format!("{HOLD}{}", id.get(..SHORT_ID).unwrap_or(id))
}

/// The begin of the id of the helper image whose executable a volume of this name has.
#[must_use]
pub fn image_of_hold(name: &str) -> Option<&str> {
    let id = name.strip_prefix(HOLD)?;
    let is_id = id.len() == SHORT_ID && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then_some(id)
}

/// What the name of a volume that keeps caches begins with, where a name is one of those: what is sealed.
#[must_use]
pub fn prefix_of_cache(name: &str) -> Option<&str> {
    let of_project = name.strip_suffix(PROTECTED).unwrap_or(name);
    if let Some(prefix) = of_project.strip_suffix(ARCHIVES) {
        let (before, project) = prefix.strip_prefix("runner-")?.rsplit_once("-project-")?;
        return (!before.is_empty() && is_number(project)).then_some(prefix);
    }
    let prefix = prefix_of(name)?;
    name[prefix.len()..]
        .starts_with("-cache-")
        .then_some(prefix)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::{
        Names, hold_volume, image_of_hold, own_name, prefix_of, prefix_of_cache, travel_name,
    };
    use crate::docker::client_names::client_reads;

    #[test]
    fn no_client_reads_a_name_that_variables_travel_under() {
        for name in ["HTTP_PROXY", "DOCKER_HOST", "ALLOY_VARIABLE_X_PROXY"] {
            assert!(!client_reads(&travel_name(name)), "{name}");
            assert_eq!(own_name(&travel_name(name)), name);
        }
    }

    #[test]
    fn the_volume_of_an_image_is_known_by_its_name() {
        let id = "0a061e3f9a380a061e3f9a38";
        for id in [format!("sha256:{id}"), id[..12].to_owned()] {
            assert_eq!(hold_volume(&id), "alloy-runner-hold-0a061e3f9a38");
        }
        assert_eq!(
            image_of_hold("alloy-runner-hold-0a061e3f9a38"),
            Some(&id[..12])
        );
        for name in [
            "alloy-runner-hold-",
            "alloy-runner-hold-database1234",
            "hold",
        ] {
            assert_eq!(image_of_hold(name), None, "{name}");
        }
    }

    #[test]
    fn names_of_ours_are_known() {
        for (name, prefix) in [
            (
                "runner-x-project-3-concurrent-1",
                Some("runner-x-project-3-concurrent-1"),
            ),
            (
                "runner-x-y-project-3-concurrent-12-build",
                Some("runner-x-y-project-3-concurrent-12"),
            ),
            ("runner-x-project-3-concurrent-", None),
            ("runner-x-project-3-concurrent-1x", None),
            ("runner-x-project-y-concurrent-1-build", None),
            ("my-runner-x-project-3-concurrent-1", None),
            ("db", None),
        ] {
            assert_eq!(prefix_of(name), prefix, "{name}");
        }
        for (name, prefix) in [
            (
                "runner-x-project-3-cache-archives",
                Some("runner-x-project-3"),
            ),
            (
                "runner-x-project-3-cache-archives-protected",
                Some("runner-x-project-3"),
            ),
            (
                "runner-x-project-3-concurrent-1-cache-2bcd",
                Some("runner-x-project-3-concurrent-1"),
            ),
            (
                "runner-x-project-3-concurrent-1-cache-2bcd-protected",
                Some("runner-x-project-3-concurrent-1"),
            ),
            ("runner-x-project-3-concurrent-1-build", None),
            ("runner-x-project-y-cache-archives", None),
            ("runner-project-3-cache-archives", None),
            ("my-runner-x-project-3-cache-archives", None),
            ("web-cache-archives", None),
        ] {
            assert_eq!(prefix_of_cache(name), prefix, "{name}");
        }
    }

    #[test]
    fn names_are_those_of_the_configuration() {
        let names = Names::new("abcdefgh", 3, 1);
        assert_eq!(
            names.container("helper").to_string(),
            "runner-abcdefgh-project-3-concurrent-1-helper"
        );
        // printf /my/cache | md5sum
        assert_eq!(
            names.cache_volume("/my/cache").to_string(),
            "runner-abcdefgh-project-3-concurrent-1-cache-2bcd59b41e7cf1cdd66a270f60d1dd6d"
        );
        assert_eq!(
            names.archives_volume().to_string(),
            "runner-abcdefgh-project-3-cache-archives"
        );
    }
}
