//! Reading `config.toml`: what is wrong is named with file, line and key.

use std::fs;
use std::path::Path;

use super::{Config, RunnerConfig};
use crate::outcome::InputError;

/// A file, read.
pub struct Loaded {
    /// What it says.
    pub config: Config,
    /// Keys that mean nothing here, by their path, for a warning.
    pub unknown: Vec<String>,
}

/// Keys that only restrict begin like this. One of them that is not known must not be passed over: somebody
/// relies on it.
const RESTRICTING: &[&str] = &["allow", "deny", "disable", "forbid", "restrict", "protect"];

/// Reads a configuration file.
///
/// # Errors
/// [`InputError`] with file, line and key for what cannot be read, a wrong type, or a key that restricts and
/// is not known.
pub fn load(file: &Path) -> Result<Loaded, InputError> {
    let text = fs::read_to_string(file).map_err(|error| {
        InputError::new(format!(
            "cannot read the configuration {}: {error}",
            file.display()
        ))
    })?;
    let failed = |key: &str, error: &toml::de::Error| {
        let line = error
            .span()
            .map(|span| text[..span.start].matches('\n').count() + 1);
        let line = line.map(|line| format!(":{line}")).unwrap_or_default();
        let key = if key.is_empty() || key == "." {
            String::new()
        } else {
            format!("{key}: ")
        };
        InputError::new(format!(
            "{}{line}: {key}{}",
            file.display(),
            error.message().replace('\n', "; ")
        ))
    };
    let mut unknown = Vec::new();
    let input = toml::Deserializer::parse(&text).map_err(|error| failed("", &error))?;
    let mut note = |path: serde_ignored::Path<'_>| unknown.push(path.to_string());
    let input = serde_ignored::Deserializer::new(input, &mut note);
    let config = serde_path_to_error::deserialize(input)
        .map_err(|error| failed(&error.path().to_string(), error.inner()))?;
    if let Some(key) = unknown.iter().find(|key| restricts(key)) {
        return Err(InputError::new(format!(
            "{}: {key} is not known and looks as if it restricts something; correct it or take it out",
            file.display()
        )));
    }
    Ok(Loaded { config, unknown })
}

fn restricts(path: &str) -> bool {
    let key = path.rsplit('.').next().unwrap_or(path);
    RESTRICTING.iter().any(|begin| key.starts_with(begin))
}

impl Config {
    /// A runner by its name.
    ///
    /// # Errors
    /// [`InputError`] that names the runners there are, or an executor that is not supported.
    pub fn runner(&self, name: &str) -> Result<&RunnerConfig, InputError> {
        let found = self.runners.iter().find(|runner| runner.name == name);
        let runner = found.ok_or_else(|| {
            let names: Vec<&str> = self
                .runners
                .iter()
                .map(|runner| runner.name.as_str())
                .collect();
            InputError::new(format!(
                "there is no runner `{name}` in the configuration; its runners: {}",
                names.join(", ")
            ))
        })?;
        runner.check_executor()?;
        Ok(runner)
    }
}

impl RunnerConfig {
    /// Says whether there is an executor of the name that the settings have.
    ///
    /// # Errors
    /// [`InputError`] that names runner and executor.
    pub fn check_executor(&self) -> Result<(), InputError> {
        match self.executor.as_deref() {
            None | Some("docker") => Ok(()),
            Some(other) => Err(InputError::new(format!(
                "the runner `{}` has the executor `{other}`, which is not supported{}; `docker` is",
                self.name,
                if other.starts_with("docker") {
                    " yet"
                } else {
                    ""
                }
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Config, Loaded, RunnerConfig, load};
    use crate::config::{CacheConfig, DockerConfig};
    use std::io::Write;

    fn read(text: &str) -> Result<Loaded, String> {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(text.as_bytes()).expect("written");
        let place = file.path().display().to_string();
        load(file.path()).map_err(|error| error.to_string().replace(&place, "FILE"))
    }

    #[test]
    fn unknown_keys_are_collected_and_known_ones_read() {
        let text = "concurrent = 4\nlisten_address = \"x:1\"\n[session_server]\nsession_timeout = 1800\n[[runners]]\n\
                    name = \"a\"\nid = 3\npre_get_sources_script = \"x\"\n[runners.cache]\nType = \"s3\"\n\
                    [runners.cache.s3]\nBucketName = \"b\"\n[runners.docker]\npull_policy = [\"always\", \"never\"]\nnetwork_mtu = 1\n";
        let loaded = read(text).expect("good");
        assert_eq!(
            loaded.unknown,
            [
                "runners.0.docker.network_mtu",
                "runners.0.id",
                "session_server"
            ]
        );
        let runner = loaded.config.runner("a").expect("there");
        assert_eq!(runner.docker.pull_policy.as_ref().map(Vec::len), Some(2));
        assert_eq!(runner.pre_clone_script.as_deref(), Some("x"));
        assert!(loaded.config.runner("b").is_err());
        let other =
            read("[[runners]]\nname = \"a\"\nexecutor = \"docker+machine\"\n").expect("good");
        assert_eq!(
            other
                .config
                .runner("a")
                .expect_err("not supported")
                .to_string(),
            "the runner `a` has the executor `docker+machine`, which is not supported yet; `docker` is"
        );
    }

    #[test]
    fn what_is_wrong_is_named_with_line_and_key() {
        for (text, want) in [
            ("a = \n", "FILE:1: "),
            (
                "concurrent = \"x\"\n",
                "FILE:1: concurrent: invalid type: string \"x\", expected u32",
            ),
            (
                "[[runners]]\n[runners.docker]\n\nprivileged = \"yes\"\n",
                "FILE:4: runners[0].docker.privileged: invalid type: string \"yes\", expected a boolean",
            ),
            (
                "[[runners]]\n[runners.docker]\npull_policy = \"often\"\n",
                "FILE:3: runners[0].docker.pull_policy: ",
            ),
            (
                "[[runners]]\n[runners.docker]\nallowed_image = [\"a\"]\n",
                "FILE: runners.0.docker.allowed_image is not known and looks as if it restricts something; correct it or take it out",
            ),
        ] {
            let error = read(text).err().expect(text);
            assert!(error.starts_with(want), "{error}");
        }
    }
    #[test]
    fn the_sample_explains_every_key() {
        let sample = include_str!("../../config.toml.sample");
        assert_eq!(
            read(sample)
                .unwrap_or_else(|error| panic!("{error}"))
                .unknown,
            [""; 0]
        );
        // An example is a line without a space behind its `#`.
        let is_example = |line: &str| {
            line.strip_prefix('#')
                .is_some_and(|rest| !rest.starts_with(' '))
        };
        let lines = sample
            .lines()
            .map(|line| if is_example(line) { &line[1..] } else { line });
        let whole = lines.collect::<Vec<_>>().join("\n");
        assert_eq!(
            read(&whole)
                .unwrap_or_else(|error| panic!("{error}"))
                .unknown,
            [""; 0]
        );
        let table: toml::Table = whole.parse().expect("TOML");
        let missing = |known: serde_json::Value, table: &toml::Table| -> Vec<String> {
            let known = known.as_object().expect("a struct").keys().cloned();
            known.filter(|key| !table.contains_key(key)).collect()
        };
        let runner = table["runners"][0].as_table().expect("a table");
        assert_eq!(
            missing(
                serde_json::to_value(Config::default()).expect("JSON"),
                &table
            ),
            [""; 0]
        );
        assert_eq!(
            missing(
                serde_json::to_value(RunnerConfig::default()).expect("JSON"),
                runner
            ),
            [""; 0]
        );
        assert_eq!(
            missing(
                serde_json::to_value(CacheConfig::default()).expect("JSON"),
                runner["cache"].as_table().expect("a table")
            ),
            ["s3"]
        );
        assert_eq!(
            missing(
                serde_json::to_value(DockerConfig::default()).expect("JSON"),
                runner["docker"].as_table().expect("a table")
            ),
            [""; 0]
        );
    }
}
