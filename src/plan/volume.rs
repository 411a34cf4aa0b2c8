//! An entry of `volumes`: what it says, and where a job's variables may lead it.

use std::path::{Component, Path, PathBuf};

use crate::job::variables::Variables;
use crate::outcome::InputError;

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
    // Of podman: what is written goes with the container.
    "O",
];

/// An entry of `volumes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Volume {
    pub source: Source,
    /// With the variables of the job in it, until it is placed.
    pub target: String,
    /// As docker has it, `ro` for example.
    pub mode: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Kept for the next run of the same concurrent job.
    Dynamic,
    /// A path of the engine's host, or a docker volume by its name.
    Given(String),
}

/// Where a volume is in the containers. A job sets variables, and the helper has the volumes too: they lead nowhere but
/// below what the operator has written before the first of them, or, where that is nothing, below the directories that
/// every job writes to.
pub(super) fn destination(
    text: &str,
    variables: &Variables,
    open: &[String],
) -> Result<String, String> {
    let Some(at) = text.find('$') else {
        return Ok(normal(Path::new(text)));
    };
    if !variables.shows_no_secret(text) {
        return Err("it refers to a secret, which no path shows".to_owned());
    }
    let expanded = variables.expand(text);
    let below = |target: &str, top: &str| {
        let rest = target.strip_prefix(top);
        rest.is_some_and(|rest| rest.starts_with('/'))
    };
    let shown = expanded.escape_debug();
    if !expanded.starts_with('/')
        || expanded.contains([':', '|', ','])
        || expanded.contains(char::is_control)
    {
        return Err(format!(
            "the path in the container is `{shown}`; it must be an absolute one without colons and commas"
        ));
    }
    let up = Path::new(&expanded)
        .components()
        .any(|part| part == Component::ParentDir);
    let target = normal(Path::new(&expanded));
    let written = normal(Path::new(&text[..text[..at].rfind('/').unwrap_or(0)]));
    let inside = match written.as_str() {
        "" | "/" => open.iter().any(|top| below(&target, top)),
        written => below(&target, written),
    };
    if up || !inside {
        return Err(format!(
            "with the variables of the job it is at `{shown}`, where no job may have it"
        ));
    }
    Ok(target)
}

impl Volume {
    /// `PATH[:MODE]`, `HOST-PATH:PATH[:MODE]` or `NAME:PATH[:MODE]`.
    pub fn parse(text: &str) -> Result<Self, InputError> {
        let wrong = |what: String| InputError::new(format!("docker.volumes: `{text}`: {what}"));
        let mut parts: Vec<&str> = text.split(':').collect();
        // Modes stand last, with commas or colons between them; a path is none of them.
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
        // What variables make of it is seen when they are known.
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
                    "`{other}` is neither an absolute path of the host nor a volume's name"
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

/// A path without `.`, `..` and a slash at its end, by its letters alone: it is one of a container.
pub(super) fn normal(path: &Path) -> String {
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

#[cfg(test)]
mod tests {
    use super::{Source, Volume, destination};
    use crate::job::variables::{Variable, Variables};

    #[test]
    fn volumes_are_read() {
        let given = |text: &str| Source::Given(text.to_owned());
        for (text, source, target, mode) in [
            ("/my/cache/", Source::Dynamic, "/my/cache", None),
            // Never a path of the host.
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
            let error = Volume::parse(text).expect_err(text).to_string();
            assert!(
                error.starts_with(&format!("docker.volumes: `{text}`: ")) && error.contains(part),
                "{error}"
            );
        }
    }

    #[test]
    fn variables_of_a_job_lead_a_volume_nowhere_else() {
        let variables = Variables::resolve([
            Variable::public("DIR", "/builds/acme/site"),
            Variable::public("NAME", "one"),
            Variable::public("UP", "../usr"),
            Variable::public("USR", "/usr/bin"),
            Variable::secret("TOKEN", "secret"),
        ]);
        let variables = variables.expect("good");
        let open = ["/builds".to_owned(), "/cache".to_owned()];
        for (text, at) in [
            ("/kept/$NAME/x", Some("/kept/one/x")),
            ("/kept/a-${NAME}/", Some("/kept/a-one")),
            ("$DIR/vendor", Some("/builds/acme/site/vendor")),
            ("/kept/$UP", None),
            ("/kept/$NONE", None),
            ("/kept/x$UP", Some("/kept/x../usr")),
            ("$USR", None),
            ("$NAME/x", None),
            ("/$NAME", None),
            ("/kept/$TOKEN", None),
        ] {
            let placed = destination(text, &variables, &open);
            assert_eq!(placed.as_deref().ok(), at, "{text}: {placed:?}");
            assert!(
                placed.is_ok() || !format!("{placed:?}").contains("secret\""),
                "{text}"
            );
        }
    }
}
