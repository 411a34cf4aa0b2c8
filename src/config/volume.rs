//! Parses an entry of `volumes`.

use std::path::{Component, Path, PathBuf};

/// Modes that docker knows for a volume.
const MODES: &[&str] = &[
    "ro",
    "rw",
    "z",
    "Z",
    "shared",
    "slave",
    "private",
    "rshared",
    "rslave",
    "rprivate",
    "nocopy",
    "consistent",
    "cached",
    "delegated",
    // A mode of podman: changes are removed with the container.
    "O",
];

/// An entry of `volumes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// What is mounted.
    pub source: Source,
    /// The path in the containers. It may have variables of the job in it, which are not expanded here.
    pub target: String,
    /// The mode, in docker's words: `ro`.
    pub mode: Option<String>,
}

/// What a volume mounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A directory that is kept for the next job in the same slot.
    Dynamic,
    /// A path of the engine's host, or the name of a docker volume.
    Given(String),
}

impl Volume {
    /// `PATH[:MODE]`, `HOST-PATH:PATH[:MODE]` or `NAME:PATH[:MODE]`.
    ///
    /// # Errors
    /// What is wrong, and what to write.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |what: String| format!("`{text}`: {what}");
        let mut parts: Vec<&str> = text.split(':').collect();
        // Modes are at the end, separated by commas or colons. A path is never a mode.
        let is_path = |part: &str| part.starts_with(['/', '$']);
        let paths = parts
            .iter()
            .rposition(|part| is_path(part))
            .map_or(parts.len(), |last| last + 1);
        let modes = parts.split_off(paths);
        let (source, target) = match parts[..] {
            [target] => (None, target),
            [source, target] => (Some(source), target),
            _ => {
                return Err(wrong(
                    "expected PATH[:MODE], HOST-PATH:PATH[:MODE] or NAME:PATH[:MODE]".to_owned(),
                ));
            }
        };
        for mode in modes.iter().flat_map(|mode| mode.split(',')) {
            if !MODES.contains(&mode) {
                return Err(wrong(format!(
                    "there is no mode `{mode}`; there are {}",
                    MODES.join(", ")
                )));
            }
        }
        if !is_path(target) {
            return Err(wrong(
                "the path in the container must be an absolute one, `$CI_PROJECT_DIR/vendor` for example".to_owned(),
            ));
        }
        // Variables are checked when their values are known.
        let target = if target.contains('$') {
            target.to_owned()
        } else {
            normal(Path::new(target))
        };
        if target == "/" || target.contains('|') {
            return Err(wrong(
                "the path in the container is missing, or /".to_owned(),
            ));
        }
        let source = match source {
            None => Source::Dynamic,
            Some(path) if path.starts_with('/') || is_volume_name(path) => {
                Source::Given(path.to_owned())
            }
            Some(other) => {
                return Err(wrong(format!(
                    "`{other}` is neither an absolute path of the host nor a volume's name; write /PATH:{target} or NAME:{target}"
                )));
            }
        };
        Ok(Self {
            source,
            target,
            mode: (!modes.is_empty()).then(|| modes.join(",")),
        })
    }
}

fn is_volume_name(name: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    name.len() > 1
        && name.chars().all(good)
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
}

/// A path without `.`, `..` and a slash at its end. No file system is looked at: it is a path in a container.
#[must_use]
pub fn normal(path: &Path) -> String {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(normal.pop()),
            Component::CurDir => {}
            other => normal.push(other),
        }
    }
    normal.display().to_string()
}

/// Checks that a directory in containers is an absolute path, and normalizes it.
///
/// # Errors
/// What to write.
pub fn absolute(path: &str) -> Result<String, String> {
    let normal = normal(Path::new(path));
    if path.starts_with('/') && normal != "/" && !path.contains(':') {
        return Ok(normal);
    }
    Err(format!(
        "`{path}` must be an absolute path other than /, without a colon"
    ))
}

#[cfg(test)]
mod tests {
    use super::{Source, Volume};

    #[test]
    fn volumes_are_read() {
        let given = |text: &str| Source::Given(text.to_owned());
        for (text, source, target, mode) in [
            ("/my/cache/", Source::Dynamic, "/my/cache", None),
            // This is never a path of the host.
            ("/cache:rw", Source::Dynamic, "/cache", Some("rw")),
            ("/cache:ro", Source::Dynamic, "/cache", Some("ro")),
            ("/cache:ro,z", Source::Dynamic, "/cache", Some("ro,z")),
            ("/cache:ro:z", Source::Dynamic, "/cache", Some("ro,z")),
            (
                "$CI_BUILDS_DIR/x:ro",
                Source::Dynamic,
                "$CI_BUILDS_DIR/x",
                Some("ro"),
            ),
            ("/a b:/c d", given("/a b"), "/c d", None),
            ("/a:/b/./c:ro,Z", given("/a"), "/b/c", Some("ro,Z")),
            ("/a:/b:rw:rslave", given("/a"), "/b", Some("rw,rslave")),
            ("/a:/b:O", given("/a"), "/b", Some("O")),
            ("/a/$X:/b/$X", given("/a/$X"), "/b/$X", None),
            ("data:/var/data:rw", given("data"), "/var/data", Some("rw")),
            ("ro:/var/data", given("ro"), "/var/data", None),
        ] {
            let volume = Volume::parse(text).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(
                (
                    volume.source,
                    volume.target.as_str(),
                    volume.mode.as_deref()
                ),
                (source, target, mode),
                "{text}"
            );
        }
    }

    /// What GitLab's runner makes of specifications of volumes, which is what this one makes of them.
    #[test]
    fn volumes_are_those_of_gitlabs_runner() {
        let words = |volume: Volume| {
            let source = match volume.source {
                Source::Given(source) => source,
                Source::Dynamic => "a cache".to_owned(),
            };
            let mode = volume.mode.map(|mode| format!(" as {mode}"));
            format!("{source} at {}{}", volume.target, mode.unwrap_or_default())
        };
        for (text, want) in [
            ("", "none"),
            ("/destination", "a cache at /destination"),
            ("/source:/destination", "/source at /destination"),
            ("/destination:rw", "a cache at /destination as rw"),
            ("/destination:ro", "a cache at /destination as ro"),
            ("/source:/destination:rw", "/source at /destination as rw"),
            ("/source:/destination:ro", "/source at /destination as ro"),
            (
                "/source:/destination:ro,z",
                "/source at /destination as ro,z",
            ),
            (
                "/source:/destination:ro,Z",
                "/source at /destination as ro,Z",
            ),
            ("/Source:/Destination:rw", "/Source at /Destination as rw"),
            ("/source:/destination:O", "/source at /destination as O"),
            ("/source:/destination:O,z", "/source at /destination as O,z"),
            ("/source:/destination:O,Z", "/source at /destination as O,Z"),
            ("/source:/destination:z", "/source at /destination as z"),
            ("/source:/destination:Z", "/source at /destination as Z"),
            ("/source:/destination:T", "none"),
            ("/source:/destination:rw:something", "none"),
            (":/destination", "none"),
            (
                "/source with spaces:/destination",
                "/source with spaces at /destination",
            ),
            (
                "/source:/destination with spaces",
                "/source at /destination with spaces",
            ),
            (
                "/my host path:/container path:rw",
                "/my host path at /container path as rw",
            ),
            (
                "/path/with spaces/in the/middle:/dest",
                "/path/with spaces/in the/middle at /dest",
            ),
            ("volume_name:/destination", "volume_name at /destination"),
            (
                "/source:/destination:rslave",
                "/source at /destination as rslave",
            ),
            (
                "/source:/destination:ro,rslave",
                "/source at /destination as ro,rslave",
            ),
            ("/source:/destination:unknown", "none"),
            ("/source:/destination:ro,unknown", "none"),
            ("/source:/destination:,rslave", "none"),
            (
                "/source:/destination:rw:rslave",
                "/source at /destination as rw,rslave",
            ),
            ("/source:blipp", "none"),
            ("/source:/some/$VAR/blipp", "/source at /some/$VAR/blipp"),
            (
                "/source:/some/${VAR}/blipp",
                "/source at /some/${VAR}/blipp",
            ),
            (
                "/source:/${root}/$sub-test/dir",
                "/source at /${root}/$sub-test/dir",
            ),
            ("/source:/${r/$$-test/dir", "/source at /${r/$$-test/dir"),
            ("/$X:/y/$X", "/$X at /y/$X"),
        ] {
            let volume = Volume::parse(text).map_or("none".to_owned(), words);
            assert_eq!(volume, want, "{text}");
        }
        // Here a variable may be the beginning: where it leads is looked at when its value is known.
        assert!(Volume::parse("/source:$CI_PROJECT_DIR/blipp").is_ok());
    }

    #[test]
    fn what_is_wrong_in_a_volume_is_said() {
        for (text, part) in [
            ("", "must be an absolute one"),
            ("vendor", "must be an absolute one"),
            ("ro", "must be an absolute one"),
            ("data:rw", "must be an absolute one"),
            ("/", "missing"),
            ("/a:", "there is no mode ``"),
            ("/a:b", "there is no mode `b`"),
            (
                "./a:/b",
                "neither an absolute path of the host nor a volume's name",
            ),
            ("--x:/b", "neither"),
            ("$HOME:/b", "neither"),
            ("/a:/b:rx", "there is no mode `rx`; there are ro, rw"),
            ("/a:/b:/c", "expected PATH"),
        ] {
            let error = Volume::parse(text).expect_err(text);
            assert!(
                error.starts_with(&format!("`{text}`: ")) && error.contains(part),
                "{error}"
            );
        }
    }
}
