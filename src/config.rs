//! The tables of `config.toml`. `[runners.docker]` is written once and serves the file, the `--docker-…`
//! flags and the environment.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use serde::Deserialize;

use crate::docker::Engine;

/// A switch that is given a value. An empty one is off, as docker reads `DOCKER_TLS_VERIFY`.
fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "" | "0" | "false" | "no" | "off" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    }
}

/// When an image is pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
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
    #[arg(long = "docker-tls-verify", env = "DOCKER_TLS_VERIFY", value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = switch)]
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
    /// When to pull: always, if-not-present, never
    #[arg(
        long = "docker-pull-policy",
        env = "DOCKER_PULL_POLICY",
        value_name = "POLICY"
    )]
    pub pull_policy: Option<PullPolicy>,
    /// Run builds and services privileged
    #[arg(long = "docker-privileged", env = "DOCKER_PRIVILEGED", value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = switch)]
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
