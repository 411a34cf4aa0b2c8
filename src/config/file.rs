//! Reading `config.toml`: what is wrong is named with file, line and key.

use std::fs;
use std::path::Path;

use toml::de::DeTable;

use super::keys::{UnknownKey, drop_empty, unknown};
use super::{Config, RunnerConfig};
use crate::outcome::InputError;

/// A file, read.
pub struct Loaded {
    /// What it says.
    pub config: Config,
    /// Keys that say something that has no effect here, for a warning.
    pub unknown: Vec<UnknownKey>,
}

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
    let mut table = DeTable::parse(&text).map_err(|error| failed("", &error))?;
    drop_empty(table.get_mut(), "");
    let unknown = unknown(table.get_ref(), &text);
    if let Some(key) = unknown.iter().find(|key| key.restricts()) {
        let hint = key.hint.as_deref().map(|hint| format!(" ({hint})"));
        return Err(InputError::new(format!(
            "{}:{}: {} is not known, and looks as if it restricts something{}; correct it or take it out",
            file.display(),
            key.line,
            key.path,
            hint.unwrap_or_default()
        )));
    }
    let config = serde_path_to_error::deserialize(toml::Deserializer::from(table))
        .map_err(|error| failed(&error.path().to_string(), error.inner()))?;
    Ok(Loaded { config, unknown })
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

    /// The warning about keys without effect.
    fn warning(text: &str) -> String {
        let unknown = read(text).unwrap_or_else(|error| panic!("{error}")).unknown;
        let keys = unknown.iter().map(ToString::to_string);
        keys.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn known_keys_are_read_and_others_named_with_their_line_and_what_may_be_meant() {
        let text = "concurent = 4\nlisten_address = \"x:1\"\n[session_server]\nlisten_address = \"x:2\"\n[[runners]]\n\
                    name = \"a\"\nid = 3\nimage = \"ruby\"\npre_get_sources_script = \"x\"\n[runners.cache]\nType = \"s3\"\nPaths = \"x\"\n\
                    [runners.cache.s3]\nBucketName = \"b\"\nBuketLocation = \"c\"\n[runners.docker]\npull_policy = [\"always\", \"never\"]\nnetwork_mtu = 1\n\
                    [[runners.docker.services]]\nname = \"redis\"\nenvironment = [\"A=1\"]\naliases = [\"x\"]\n";
        assert_eq!(
            warning(text),
            "concurent (line 1; did you mean `concurrent`?), session_server (line 3), runners.image (line 8; it stands in \
             [runners.docker]), runners.cache.Paths (line 12), runners.cache.s3.BuketLocation (line 15; did you mean \
             `BucketLocation`?), runners.docker.network_mtu (line 18), runners.docker.services.aliases (line 22; did you \
             mean `alias`?)"
        );
        let loaded = read(text).expect("good");
        let runner = loaded.config.runner("a").expect("there");
        assert_eq!(runner.docker.pull_policy.as_ref().map(Vec::len), Some(2));
        assert_eq!(runner.pre_clone_script.as_deref(), Some("x"));
        let service = runner.docker.services().next().expect("one");
        assert_eq!(service.environment, ["A=1"]);
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
    fn an_empty_text_is_not_set() {
        let keys = |value: serde_json::Value| -> Vec<String> {
            let table = value.as_object().expect("a struct").iter();
            table.map(|(key, _)| key.clone()).collect()
        };
        let empty = |keys: &[String], tables: &[&str]| -> String {
            let keys = keys.iter().filter(|key| !tables.contains(&key.as_str()));
            keys.fold(String::new(), |text, key| text + key + " = \"\"\n")
        };
        let [global, runner, docker, cache] = [
            serde_json::to_value(Config::default()),
            serde_json::to_value(RunnerConfig::default()),
            serde_json::to_value(DockerConfig::default()),
            serde_json::to_value(CacheConfig::default()),
        ]
        .map(|value| keys(value.expect("JSON")));
        let text = format!(
            "{}[[runners]]\n{}[runners.cache]\n{}[runners.docker]\n{}",
            empty(&global, &["runners"]),
            empty(&runner, &["cache", "docker"]),
            empty(&cache, &["s3"]),
            empty(&docker, &[]),
        );
        let loaded = read(&text).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(loaded.unknown, []);
        let want = RunnerConfig {
            cache: Some(CacheConfig::default()),
            ..RunnerConfig::default()
        };
        assert_eq!(loaded.config.runners, [want]);
        // Here it says something.
        let said = "[[runners]]\n[runners.docker]\nallowed_images = [\"\"]\nvolumes = [\"\", \"/cache\"]\n\
                    services = [\"\", { name = \"redis\", alias = \"\", entrypoint = [\"\"] }]\ntmpfs = { \"/x\" = \"\" }\n";
        let docker = &read(said).expect("good").config.runners[0].docker;
        assert_eq!(docker.allowed_images.as_deref(), Some(&[String::new()][..]));
        assert_eq!(docker.volumes.as_deref(), Some(&["/cache".to_owned()][..]));
        assert_eq!(
            docker.tmpfs.as_ref().map(std::collections::BTreeMap::len),
            Some(1)
        );
        let services: Vec<_> = docker.services().collect();
        assert_eq!(services.len(), 1);
        assert_eq!(
            services[0].entrypoint.as_deref(),
            Some(&[String::new()][..])
        );
        assert!(services[0].alias.is_empty());
    }

    #[test]
    fn what_registering_tools_wrote_over_the_years_is_read_without_a_word() {
        let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/config");
        let mut files: Vec<_> = std::fs::read_dir(&directory)
            .expect("there")
            .map(|entry| entry.expect("readable").path())
            .collect();
        files.sort();
        assert_eq!(files.len(), 10);
        for file in files {
            let loaded = load(&file).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(loaded.unknown, [], "{}", file.display());
            let [runner] = &loaded.config.runners[..] else {
                panic!("one runner each: {}", file.display());
            };
            runner.check_executor().expect("docker");
            assert!(!runner.url.is_empty() && !runner.token.is_empty());
            assert_eq!(
                runner.docker.image.as_deref(),
                Some("ruby:2.7"),
                "{}",
                file.display()
            );
            assert_eq!(
                runner.docker.volumes.as_deref(),
                Some(&["/cache".to_owned()][..])
            );
            for path in [
                &runner.tls_ca_file,
                &runner.tls_cert_file,
                &runner.docker.tls_cert_path,
            ] {
                assert_eq!(*path, None, "{}", file.display());
            }
        }
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
                "FILE:3: runners.docker.allowed_image is not known, and looks as if it restricts something (did you mean \
                 `allowed_images`?); correct it or take it out",
            ),
            (
                "[[runners]]\n[runners.cache]\nprotected = true\n",
                "FILE:3: runners.cache.protected is not known, and looks as if it restricts something; correct it",
            ),
            (
                "[[runners]]\nsessions_disabled = true\n",
                "FILE:2: runners.sessions_disabled is not known, and looks as if it restricts something; correct it",
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
            []
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
            []
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
