//! The tables of `config.toml`. `[runners.docker]` is written once and serves the file, the `--docker-…`
//! flags and the environment.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::docker::Engine;

/// When an image is pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullPolicy {
    /// Every time.
    Always,
    /// If the engine has none of this name.
    IfNotPresent,
    /// Never.
    Never,
}

impl FromStr for PullPolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "always" => Ok(Self::Always),
            "if-not-present" => Ok(Self::IfNotPresent),
            "never" => Ok(Self::Never),
            _ => Err(format!(
                "`{text}` is no pull policy: always, if-not-present or never"
            )),
        }
    }
}

impl fmt::Display for PullPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Always => "always",
            Self::IfNotPresent => "if-not-present",
            Self::Never => "never",
        })
    }
}

/// A pull policy or a list of them.
fn policies<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PullPolicy>, D::Error> {
    #[derive(Deserialize)]
    #[serde(
        untagged,
        expecting = "expected a pull policy or a list of them: always, if-not-present, never"
    )]
    enum Form {
        One(String),
        Many(Vec<String>),
    }
    let names = match Form::deserialize(deserializer)? {
        Form::One(name) => vec![name],
        Form::Many(names) => names,
    };
    let policies = names.iter().map(|name| name.parse());
    policies.collect::<Result<_, _>>().map_err(D::Error::custom)
}

/// `[runners.docker]`. A key that is absent has its default.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct DockerConfig {
    /// The engine: unix:///…, tcp://… or ssh://…
    #[arg(long = "docker-host", env = "DOCKER_HOST", value_name = "URL")]
    pub host: Option<String>,
    /// A directory with ca.pem, cert.pem and key.pem for the engine
    #[arg(
        long = "docker-tls-cert-path",
        env = "DOCKER_CERT_PATH",
        value_name = "DIR"
    )]
    pub tls_cert_path: Option<PathBuf>,
    /// Check the engine's certificate
    #[arg(long = "docker-tls-verify", env = "DOCKER_TLS_VERIFY", value_name = "BOOL", num_args = 0..=1,
          default_missing_value = "true", value_parser = clap::builder::BoolishValueParser::new())]
    pub tls_verify: Option<bool>,
    /// The image of jobs that name none
    #[arg(long = "docker-image", env = "DOCKER_IMAGE", value_name = "IMAGE")]
    pub image: Option<String>,
    /// The image that fetches sources, in place of the runner's own
    #[arg(
        long = "docker-helper-image",
        env = "DOCKER_HELPER_IMAGE",
        value_name = "IMAGE"
    )]
    pub helper_image: Option<String>,
    /// When to pull: always, if-not-present, never; repeatable, the next is tried where one fails
    #[arg(
        long = "docker-pull-policy",
        env = "DOCKER_PULL_POLICY",
        value_name = "POLICY",
        value_delimiter = ','
    )]
    #[serde(deserialize_with = "policies")]
    pub pull_policy: Vec<PullPolicy>,
    /// Pull policies that may be used; by default all
    #[arg(
        long = "docker-allowed-pull-policies",
        env = "DOCKER_ALLOWED_PULL_POLICIES",
        value_name = "POLICY",
        value_delimiter = ','
    )]
    #[serde(deserialize_with = "policies")]
    pub allowed_pull_policies: Vec<PullPolicy>,
    /// Images that a job may name, like ruby:* or my.registry.tld:5000/*:*; by default all
    #[arg(
        long = "docker-allowed-images",
        env = "DOCKER_ALLOWED_IMAGES",
        value_name = "PATTERN",
        value_delimiter = ','
    )]
    pub allowed_images: Vec<String>,
    /// Images that a job may name as services; by default all
    #[arg(
        long = "docker-allowed-services",
        env = "DOCKER_ALLOWED_SERVICES",
        value_name = "PATTERN",
        value_delimiter = ','
    )]
    pub allowed_services: Vec<String>,
    /// Run builds and services privileged
    #[arg(long = "docker-privileged", env = "DOCKER_PRIVILEGED", value_name = "BOOL", num_args = 0..=1,
          default_missing_value = "true", value_parser = clap::builder::BoolishValueParser::new())]
    pub privileged: Option<bool>,
    /// Seconds to wait for services; negative: do not wait
    #[arg(
        long = "docker-wait-for-services-timeout",
        env = "DOCKER_WAIT_FOR_SERVICES_TIMEOUT",
        value_name = "SECONDS",
        allow_negative_numbers = true
    )]
    pub wait_for_services_timeout: Option<i64>,
    /// A directory that persists between runs; repeatable
    #[arg(
        long = "docker-volumes",
        env = "DOCKER_VOLUMES",
        value_name = "PATH",
        value_delimiter = ','
    )]
    pub volumes: Vec<String>,
}

impl DockerConfig {
    /// How to reach the engine.
    #[must_use]
    pub fn engine(&self) -> Engine {
        Engine {
            host: self.host.clone(),
            tls_cert_path: self.tls_cert_path.clone(),
            tls_verify: self.tls_verify.unwrap_or(false),
        }
    }
}

/// `[[runners]]`, as far as a job's plan depends on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct RunnerConfig {
    /// What a person calls it.
    pub name: String,
    /// What the coordinator calls it, shortened; `local` for a job without one.
    pub short_token: String,
    /// Variables of every job, `KEY=value` each.
    pub environment: Vec<String>,
    /// Where sources live in a container.
    pub builds_dir: Option<String>,
    /// A PEM file of a certificate authority that git has to know.
    #[serde(rename = "tls-ca-file")]
    pub tls_ca_file: Option<PathBuf>,
    /// Its docker settings.
    pub docker: DockerConfig,
}

#[cfg(test)]
mod tests {
    use super::{DockerConfig, PullPolicy};

    #[test]
    fn pull_policies_are_one_or_many() {
        let read =
            |text: &str| toml::from_str::<DockerConfig>(text).map(|docker| docker.pull_policy);
        assert_eq!(read(""), Ok(vec![]));
        assert_eq!(read("pull_policy = 'never'"), Ok(vec![PullPolicy::Never]));
        assert_eq!(
            read("pull_policy = ['always', 'if-not-present']"),
            Ok(vec![PullPolicy::Always, PullPolicy::IfNotPresent])
        );
        for (text, want) in [
            (
                "pull_policy = 'often'",
                "`often` is no pull policy: always, if-not-present or never",
            ),
            (
                "pull_policy = 1",
                "expected a pull policy or a list of them",
            ),
        ] {
            let error = read(text).expect_err(text).to_string();
            assert!(error.contains(want), "{error}");
        }
    }
}
