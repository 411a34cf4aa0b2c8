//! Reads `config.toml`. An error names file, line, column and key, and says what to write.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::check::first_problem;
use super::gitlab::is_helper;
use super::keys::{UnknownKey, drop_empty, unknown};
use super::place::FileText;
use super::typed::{Input, Why, at, sentence};
use super::{Config, RunnerConfig, environment};
use crate::nearest::nearest_hint;
use crate::outcome::InputError;

/// A configuration file that was read.
pub struct Loaded {
    /// Its contents.
    pub config: Config,
    /// Its unknown keys, for a warning.
    pub unknown: Vec<UnknownKey>,
}

/// Reads a configuration file.
///
/// # Errors
/// [`InputError`] with file, line, column and key, for a file that cannot be read, a value of a wrong type or form, and
/// an unknown key that seems to restrict something.
pub fn load(file: &Path) -> Result<Loaded, InputError> {
    let text = fs::read_to_string(file).map_err(|error| {
        let hint = if error.kind() == ErrorKind::NotFound {
            "; `alloy-runner register` writes one, --config (CONFIG_FILE) names another"
        } else {
            ""
        };
        InputError::new(format!(
            "cannot read the configuration {}: {error}{hint}",
            file.display()
        ))
    })?;
    let source = FileText { file, text: &text };
    let mut table = DeTable::parse(&text)
        .map_err(|error| no_toml(&source, &error))?
        .into_inner();
    drop_empty(&mut table, "");
    let unknown = unknown(&table, &source);
    if let Some(key) = unknown.iter().find(|key| key.is_wrong()) {
        return Err(InputError::new(key.error(file)));
    }
    let input = DeValue::Table(table);
    let read = Config::deserialize(Input(&input));
    let DeValue::Table(table) = &input else {
        unreachable!("it was made one above");
    };
    let mut config = read.map_err(|wrong| {
        let path = wrong.path();
        let what = match &wrong.why {
            Why::Kind(expected) => {
                sentence(expected, &path, at(table, &path).map(Spanned::get_ref))
            }
            Why::Said(what) => what.clone(),
        };
        source.error(table, &path, what)
    })?;
    let in_environment = |name: &str| std::env::var(name).ok();
    let expanded = environment::expand(&mut config, in_environment);
    if let Some((path, what)) = expanded.err().or_else(|| first_problem(&config)) {
        return Err(source.error(table, &path, what));
    }
    let entries = table.get("runners").map(Spanned::get_ref);
    let entries = entries.and_then(DeValue::as_array).into_iter().flatten();
    for (runner, entry) in config.runners.iter_mut().zip(entries) {
        runner.origin = source.origin(entry);
        runner.docker.helper_image.take_if(|image| is_helper(image));
    }
    Ok(Loaded { config, unknown })
}

/// The error that a text is not TOML: the parser's message and, for common mistakes, what to write.
fn no_toml(source: &FileText, error: &toml::de::Error) -> InputError {
    let span = error.span().unwrap_or_default();
    let message = error.message().replace('\n', "; ");
    let place = source.place(span.start);
    let key = source.text.get(span).unwrap_or_default().trim();
    InputError::new(match message.as_str() {
        "duplicate key" => format!("{place}: the key `{key}` is there twice; keep one"),
        words if words.starts_with("string values must be quoted") && !key.contains('"') => {
            format!("{place}: not TOML: a string has to be quoted; write \"{key}\"")
        }
        _ => format!("{place}: not TOML: {message}"),
    })
}

impl Config {
    /// Finds a runner by its name.
    ///
    /// # Errors
    /// [`InputError`] that names the known runners.
    pub fn runner(&self, name: &str) -> Result<&RunnerConfig, InputError> {
        let found = self.runners.iter().find(|runner| runner.name == name);
        found.ok_or_else(|| {
            let names: Vec<&str> = self
                .runners
                .iter()
                .map(|runner| runner.name.as_str())
                .collect();
            InputError::new(format!(
                "there is no runner `{name}` in the configuration; its runners: {}",
                names.join(", ")
            ))
        })
    }
}

impl RunnerConfig {
    /// Checks that the executor is supported.
    ///
    /// # Errors
    /// [`InputError`] that names runner and executor.
    pub fn check_executor(&self) -> Result<(), InputError> {
        match self.executor.as_deref() {
            executor if Self::supports(executor) => Ok(()),
            executor => {
                let other = executor.unwrap_or_default();
                Err(InputError::new(format!(
                    "{}the runner `{}` has the executor `{other}`, which is not supported{}; write executor = \"docker\"",
                    self.origin.prefix("executor"),
                    self.name,
                    if other.starts_with("docker") {
                        " yet".to_owned()
                    } else {
                        nearest_hint(other, &["docker"])
                    }
                )))
            }
        }
    }

    /// Whether jobs can run with an executor.
    pub(super) fn supports(executor: Option<&str>) -> bool {
        matches!(executor, None | Some("" | "docker"))
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
                    [runners.cache.s3]\nBucketName = \"b\"\nBuketLocation = \"c\"\n[runners.docker]\npull_policy = [\"always\", \"never\"]\nisolation = \"hyperv\"\n\
                    [[runners.docker.services]]\nname = \"redis\"\nenvironment = [\"A=1\"]\naliases = [\"x\"]\n";
        assert_eq!(
            warning(text),
            "1:1: concurent (did you mean `concurrent`?), 3:2: session_server (there is no web terminal), 8:1: runners.image (it stands in \
             [runners.docker]), 12:1: runners.cache.Paths, 15:1: runners.cache.s3.BuketLocation (did you mean \
             `BucketLocation`?), 18:1: runners.docker.isolation (containers of Linux have none), 22:1: runners.docker.services.aliases (did you mean \
             `alias`?)"
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
        let said = other
            .config
            .runner("a")
            .and_then(RunnerConfig::check_executor)
            .expect_err("not supported")
            .to_string();
        let want = ":3:12: the runner `a` has the executor `docker+machine`, which is not supported yet; write executor = \"docker\"";
        assert!(said.ends_with(want), "{said}");
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
        // In these places an empty string has a meaning.
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
        let directory =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/config/registered");
        let mut files: Vec<_> = std::fs::read_dir(&directory)
            .expect("there")
            .map(|entry| entry.expect("readable").path())
            .collect();
        files.sort();
        assert_eq!(files.len(), 14);
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
    fn what_is_wrong_is_named_with_its_place_and_key() {
        for (text, want) in [
            ("a = \n", "FILE:1:5: not TOML: "),
            (
                "concurrent = \"x\"\n",
                "FILE:1:14: concurrent: expected a whole number from 0, not the string \"x\"",
            ),
            (
                "[[runners]]\n[runners.docker]\n\nprivileged = \"yes\"\n",
                "FILE:4:14: runners[0].docker.privileged: expected true or false, not the string \"yes\"; write true",
            ),
            (
                "[[runners]]\n[runners.docker]\npull_policy = \"often\"\n",
                "FILE:3:15: runners[0].docker.pull_policy: there is no `often`; there are `always`",
            ),
            (
                "[[runners]]\n[runners.docker]\nallowed_image = [\"a\"]\n",
                "FILE:3:1: runners.docker.allowed_image is not known, and looks as if it restricts something (did you mean \
                 `allowed_images`?); correct it or take it out",
            ),
            (
                "[[runners]]\n[runners.docker]\nhost = \"tcp://a\"\nhosts = [\"tcp://b\"]\n",
                "FILE:4:9: runners[0].docker.hosts: `host` (--docker-host, DOCKER_HOST) and `hosts` (",
            ),
            (
                "[[runners]]\n[runners.docker]\nhosts = [\"tcp://b\", \"b\"]\n",
                "FILE:3:21: runners[0].docker.hosts[1]: `b` is no engine: expected unix:///SOCKET, ",
            ),
            (
                "[[runners]]\n[runners.docker]\njobs_per_host = 0\n",
                "FILE:3:17: runners[0].docker.jobs_per_host: expected a number from 1: ",
            ),
            (
                "[[runners]]\n[runners.cache]\nprotected = true\n",
                "FILE:3:1: runners.cache.protected is not known, and looks as if it restricts something; correct it",
            ),
            (
                "[[runners]]\nurl = \"$ALLOY_TEST_NOT_SET\"\n",
                "FILE:2:7: runners[0].url: it refers to the variable ALLOY_TEST_NOT_SET, which is not set in the environment",
            ),
            (
                "[[runners]]\nprepare_timeout = \"soon\"\n",
                "FILE:2:19: runners[0].prepare_timeout: `soon` is no time; write one like \"90s\" or \"1h30m\"",
            ),
            (
                "[[runners]]\nprepare_timeout = 600\n",
                "FILE:2:19: runners[0].prepare_timeout: expected a string with a time like \"90s\" or \"1h30m\", not the \
                 number 600; write \"600\"",
            ),
            (
                "[[runners]]\n[runners.docker]\nlog_options = { max-size = \"1m\" }\n",
                "FILE:3:28: runners[0].docker.log_options.max-size: there is no `max-size`; there are `env`, `labels`",
            ),
            (
                "[[runners]]\n[runners.cache.s3]\nServerSideEncryption = \"SSE-C\"\n",
                "FILE:3:24: runners[0].cache.s3.ServerSideEncryption: there is no `SSE-C`; there are `S3`, `KMS`, ",
            ),
            (
                "[[runners]]\nsessions_disabled = true\n",
                "FILE:2:1: runners.sessions_disabled is not known, and looks as if it restricts something; correct it",
            ),
        ] {
            let error = read(text).err().expect(text);
            assert!(error.starts_with(want), "{error}");
        }
    }
}
