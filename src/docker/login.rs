//! The docker client as the user that a registry knows, for one pull.
//!
//! Passwords reach it through a configuration directory of its own, never by its arguments. Everything
//! else in that directory is the host's, so that the client stays with the same engine and proxies.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use super::auth::{Auth, RegistryAuths, key_of};
use super::client::Docker;
use super::host_config::{Choice, HostConfig};
use crate::cancel::Cancel;

/// Where the client's configuration is.
const VARIABLE: &str = "DOCKER_CONFIG";
const FILE: &str = "config.json";

/// A docker client that knows whom to be.
pub struct Login {
    /// The client.
    pub docker: Docker,
    /// Where its user comes from, in words.
    pub source: &'static str,
    /// Goes away with this.
    _directory: Option<TempDir>,
}

impl Docker {
    /// The client with the user whom `brought` or the host's own configuration has for this registry.
    ///
    /// # Errors
    /// If the private configuration directory cannot be made.
    pub fn login(
        &self,
        registry: &str,
        brought: &RegistryAuths,
        cancel: &Cancel,
    ) -> io::Result<Login> {
        let directory = self.config_directory();
        let host = match &directory {
            Some(directory) if !brought.is_empty() => read(directory),
            _ => HostConfig::default(),
        };
        let (auth, source) = match host.choose(registry, brought) {
            Choice::Variable(auth) => (Some(auth), "DOCKER_AUTH_CONFIG"),
            Choice::Credentials(auth) => (Some(auth), "the job's credentials"),
            Choice::HostIfKnown(helper, auth) if !self.helper_knows(&helper, registry, cancel) => {
                (Some(auth), "the job's credentials")
            }
            Choice::Host | Choice::HostIfKnown(..) => (None, "the host's docker configuration"),
        };
        let Some(auth) = auth else {
            return Ok(Login {
                docker: self.clone(),
                source,
                _directory: None,
            });
        };
        let private = private_directory(&self.files, directory.as_deref(), &host, registry, auth)?;
        let mut docker = self.clone();
        docker
            .environment
            .insert(VARIABLE.to_owned(), private.path().display().to_string());
        // Newer clients would believe it before their files.
        docker.environment.remove("DOCKER_AUTH_CONFIG");
        Ok(Login {
            docker,
            source,
            _directory: Some(private),
        })
    }

    /// The host's own configuration directory.
    fn config_directory(&self) -> Option<PathBuf> {
        let variable = |name| {
            self.environment
                .get(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        variable(VARIABLE).or_else(|| variable("HOME").map(|home| home.join(".docker")))
    }

    /// Asks a credential helper of the host's.
    fn helper_knows(&self, helper: &str, registry: &str, cancel: &Cancel) -> bool {
        let program = format!("docker-credential-{helper}");
        let started = duct::cmd!(&program, "get")
            .stdin_bytes(key_of(registry))
            .stdout_null()
            .stderr_null()
            .full_env(&self.environment)
            .unchecked()
            .start();
        let asked = started.and_then(|handle| {
            let handle = Arc::new(handle);
            let killed = handle.clone();
            // Failing to kill what has ended by itself is no failure.
            let _guard = cancel.on_trigger(move || drop(killed.kill()));
            Ok(handle.wait()?.status.success())
        });
        asked.unwrap_or_else(|error| {
            log::warn!("cannot ask {program} for the user of {registry}: {error}");
            false
        })
    }
}

/// The configuration in this directory. One that cannot be read is none, as for docker itself.
fn read(directory: &Path) -> HostConfig {
    let file = directory.join(FILE);
    let config = match fs::read_to_string(&file) {
        Ok(text) => HostConfig::read(&text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return HostConfig::default(),
        Err(error) => Err(error.to_string()),
    };
    config.unwrap_or_else(|error| {
        log::warn!("cannot use {}: {error}", file.display());
        HostConfig::default()
    })
}

/// A directory in `place` that only we can enter: the host's, by links, but for the users.
fn private_directory(
    place: &Path,
    of_host: Option<&Path>,
    host: &HostConfig,
    registry: &str,
    auth: &Auth,
) -> io::Result<TempDir> {
    let private = tempfile::Builder::new()
        .prefix("alloy-runner-")
        .permissions(Permissions::from_mode(0o700))
        .tempdir_in(place)?;
    let mut file: File = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(private.path().join(FILE))?;
    file.write_all(host.with_user(registry, auth).as_bytes())?;
    // Contexts with their certificates, and `ca.pem`, `cert.pem` and `key.pem`, are files beside it.
    let entries = of_host.map(fs::read_dir).and_then(Result::ok);
    for entry in entries.into_iter().flatten() {
        let entry = entry?;
        if entry.file_name() != FILE {
            let target = std::path::absolute(entry.path())?;
            symlink(target, private.path().join(entry.file_name()))?;
        }
    }
    Ok(private)
}

#[cfg(test)]
mod tests {
    use super::{Docker, FILE, RegistryAuths};
    use crate::cancel::Cancel;
    use crate::docker::DockerCommand;
    use crate::docker::Engine;
    use crate::docker::auth::Auths;
    use crate::secret::Secret;
    use serde_json::{Value, json};
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::{Path, PathBuf};

    /// A client of a host with this configuration, and with a helper `some` that knows `known.tld` alone.
    fn docker(host: &Path, config: &Value) -> Docker {
        fs::write(host.join(FILE), config.to_string()).expect("written");
        let helper = host.join("docker-credential-some");
        fs::write(
            &helper,
            "#!/bin/sh\nread -r registry || :\n[ \"$1 $registry\" = 'get known.tld' ]\n",
        )
        .expect("written");
        fs::set_permissions(&helper, fs::Permissions::from_mode(0o700)).expect("executable");
        let mut docker = Docker::new(Engine::default(), false);
        for (name, value) in [
            ("DOCKER_CONFIG", host.display().to_string()),
            ("DOCKER_AUTH_CONFIG", "{}".to_owned()),
            ("PATH", format!("{}:/usr/bin:/bin", host.display())),
        ] {
            docker.environment.insert(name.to_owned(), value);
        }
        docker
    }

    fn brought(registries: &[&str]) -> RegistryAuths {
        let mut credentials = Auths::default();
        for registry in registries {
            credentials.add(registry, "me", &Secret::new("word"));
        }
        RegistryAuths {
            credentials,
            ..RegistryAuths::default()
        }
    }

    #[test]
    fn the_private_directory_is_the_hosts_with_another_user_and_goes_away() {
        let host = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(host.path().join("contexts/meta")).expect("created");
        fs::write(host.path().join("ca.pem"), "a certificate").expect("written");
        let config = json!({"currentContext": "far", "auths": {"x.tld": {"auth": "eDp4"}}});
        let docker = docker(host.path(), &config);
        let login = docker
            .login("r.tld", &brought(&["r.tld"]), &Cancel::new())
            .expect("made");
        assert_eq!(login.source, "the job's credentials");
        assert!(!login.docker.environment.contains_key("DOCKER_AUTH_CONFIG"));
        let private = PathBuf::from(&login.docker.environment["DOCKER_CONFIG"]);
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(&private), 0o700);
        assert_eq!(mode(&private.join(FILE)), 0o600);
        let written = fs::read_to_string(private.join(FILE)).expect("there");
        let written: Value = serde_json::from_str(&written).expect("JSON");
        let want = json!({"currentContext": "far", "auths": {"r.tld": {"auth": "bWU6d29yZA=="}}});
        assert_eq!(written, want);
        assert!(private.join("contexts/meta").is_dir());
        assert_eq!(
            fs::read_to_string(private.join("ca.pem")).expect("linked"),
            "a certificate"
        );
        drop(login);
        assert!(!private.exists());
        assert!(host.path().join("contexts/meta").is_dir());
    }

    #[test]
    #[ignore = "needs a docker client"]
    fn the_client_stays_with_the_engine_of_the_current_context() {
        let host = tempfile::tempdir().expect("a directory");
        let mut docker = docker(host.path(), &json!({}));
        let far = [
            "context",
            "create",
            "far",
            "--docker",
            "host=unix:///far.sock",
        ];
        for arguments in [&far[..], &["context", "use", "far"]] {
            let made = std::process::Command::new("docker")
                .arg("--config")
                .arg(host.path())
                .args(arguments)
                .output()
                .expect("a docker client");
            assert!(made.status.success(), "{made:?}");
        }
        docker.environment.remove("DOCKER_HOST");
        let login = docker
            .login("r.tld", &brought(&["r.tld"]), &Cancel::new())
            .expect("made");
        assert_ne!(login.docker.environment, docker.environment);
        let error = login.docker.capture(&DockerCommand::version("x"));
        let error = error.expect_err("no helper is there").to_string();
        assert!(error.contains("/far.sock"), "{error}");
    }

    #[test]
    fn a_store_of_the_host_is_asked_before_the_jobs_credentials_count() {
        let host = tempfile::tempdir().expect("a directory");
        let brought = brought(&["known.tld", "r.tld"]);
        for (store, registry, source) in [
            ("some", "known.tld", "the host's docker configuration"),
            ("some", "r.tld", "the job's credentials"),
            ("none", "known.tld", "the job's credentials"),
        ] {
            let docker = docker(host.path(), &json!({"credsStore": store}));
            let login = docker
                .login(registry, &brought, &Cancel::new())
                .expect("made");
            assert_eq!(login.source, source, "{store} {registry}");
        }
    }

    #[test]
    fn where_the_host_knows_its_configuration_is_used_unchanged() {
        let host = tempfile::tempdir().expect("a directory");
        let docker = docker(host.path(), &json!({"auths": {"r.tld": {"auth": "eDp4"}}}));
        let login = docker
            .login("r.tld", &brought(&["r.tld"]), &Cancel::new())
            .expect("made");
        assert_eq!(login.docker.environment, docker.environment);
    }
}
