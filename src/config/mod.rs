//! The tables of `config.toml`. The types here are what the file says; a value that is `None` has its default where it
//! is used. `config.toml.sample` explains each key to users.
//!
//! An empty string in the file counts as if the key were absent. The types can be serialized because the keys that a
//! file may have are read from them: see `keys`.

mod cache;
mod check;
mod docker;
pub mod edit;
mod environment;
mod file;
mod gitlab;
mod hosts;
mod keys;
mod lifetime;
mod place;
#[cfg(test)]
mod sample;
pub mod time;
mod typed;
mod volume;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use log::LevelFilter;
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest, Sha256};

pub use cache::{CacheConfig, S3Config};
pub use docker::{DeviceTable, DockerConfig, PullPolicy, Table};
pub use file::{Loaded, load};
pub use keys::UnknownKey;
pub use lifetime::{Lifetime, lifetimes};
pub use place::Origin;
pub use volume::{Source, Volume, absolute, normal};

/// The whole file.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub struct Config {
    /// How many jobs may run at once, over all runners and all runner processes of the host. 0 counts as 1.
    pub concurrent: u32,
    /// Seconds between two job requests of a runner; 0 and less count as the default, 3, and more than 3600 as 3600.
    pub check_interval: i64,
    /// The least severe level that the runner logs; default: info.
    #[serde(deserialize_with = "log_level")]
    pub log_level: Option<LevelFilter>,
    /// The format of the runner's own log: `text` (the default) or `json`.
    pub log_format: Option<String>,
    /// Where metrics are served, `host:port`, or `:port` for all addresses of the host; default: nowhere.
    #[serde(alias = "listen_address")]
    pub metrics_server: Option<String>,
    /// How many seconds jobs have to end when the runner is stopped; default, 0 and less: 30.
    pub shutdown_timeout: Option<i64>,
    /// The runners.
    pub runners: Vec<RunnerConfig>,
}

/// Reads a level. Files of other runners also have `warning`, and `fatal` and `panic`, which are `error` here.
fn log_level<'de, D: Deserializer<'de>>(input: D) -> Result<Option<LevelFilter>, D::Error> {
    let Some(text) = Option::<String>::deserialize(input)? else {
        return Ok(None);
    };
    match text.to_lowercase().as_str() {
        "fatal" | "panic" => Ok(Some(LevelFilter::Error)),
        "warning" => Ok(Some(LevelFilter::Warn)),
        level => level.parse().map(Some).map_err(|_| {
            serde::de::Error::unknown_variant(&text, &["error", "warn", "info", "debug", "trace"])
        }),
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            concurrent: 1,
            check_interval: 3,
            log_level: None,
            log_format: None,
            metrics_server: None,
            shutdown_timeout: None,
            runners: Vec::new(),
        }
    }
}

/// A table of `[[runners]]`: one runner. Two are equal if all their settings are, wherever they stand in a file; by
/// that a runner process sees which of its runners a new configuration changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct RunnerConfig {
    /// A name for people.
    pub name: String,
    /// The coordinator's address.
    pub url: String,
    /// The token that authenticates the runner to the coordinator. A secret.
    pub token: String,
    /// A PEM file of certificate authorities to trust too, for connections to the coordinator and for git.
    #[serde(rename = "tls-ca-file")]
    pub tls_ca_file: Option<PathBuf>,
    /// A PEM file with the client certificate for the coordinator.
    #[serde(rename = "tls-cert-file")]
    pub tls_cert_file: Option<PathBuf>,
    /// A PEM file with the key of the client certificate.
    #[serde(rename = "tls-key-file")]
    pub tls_key_file: Option<PathBuf>,
    /// How many jobs of this runner may run at once; 0: only [`Config::concurrent`] limits them.
    pub limit: u32,
    /// How many job requests of this runner may be open at once; default and 0: 1.
    pub request_concurrency: Option<u32>,
    /// Whether the next job request waits for `check_interval` also where the last one brought a job.
    pub strict_check_interval: Option<bool>,
    /// After how many job requests in a row that failed this runner rests for `unhealthy_interval`; default and 0: it
    /// only waits longer after each.
    pub unhealthy_requests_limit: Option<u32>,
    /// How long it rests then; default: an hour.
    #[serde(with = "time")]
    pub unhealthy_interval: Option<Duration>,
    /// How much of a job's log is kept, in kilobytes of 1024 bytes; default and 0: 4096.
    pub output_limit: Option<u64>,
    /// What jobs run with. Only `docker`, the default, is supported: see [`RunnerConfig::check_executor`].
    pub executor: Option<String>,
    /// The shell of builds: `sh`, or `bash` (the default), which is bash if the image has it, else sh.
    pub shell: Option<String>,
    /// The directory of sources in the containers; default: `/builds`.
    pub builds_dir: Option<String>,
    /// The directory of caches in the containers; default: `/cache`.
    pub cache_dir: Option<String>,
    /// Variables of every job, `KEY=value` each. All others win over them.
    pub environment: Vec<String>,
    /// The address to clone from in place of the coordinator's.
    pub clone_url: Option<String>,
    /// Commands that run in the helper before it fetches the sources.
    #[serde(alias = "pre_get_sources_script")]
    pub pre_clone_script: Option<String>,
    /// Commands that run in the helper after it has fetched the sources.
    pub post_get_sources_script: Option<String>,
    /// Commands that run in the job's shell before the job's own.
    pub pre_build_script: Option<String>,
    /// Commands that run in the job's shell after the job's own.
    pub post_build_script: Option<String>,
    /// Whether the job's variable `CI_DEBUG_TRACE`, which makes a log show all that the shell does, is ignored.
    pub debug_trace_disabled: Option<bool>,
    /// How long images, services and the helper may take to be there.
    #[serde(with = "time")]
    pub prepare_timeout: Option<Duration>,
    /// How long the sources may take to be there.
    #[serde(with = "time")]
    pub get_sources_timeout: Option<Duration>,
    /// Feature flags of GitLab's runner, `FF_…`: variables of every job, which no other variable wins over.
    pub feature_flags: BTreeMap<String, bool>,
    /// `[runners.custom_build_dir]`.
    pub custom_build_dir: Option<CustomBuildDir>,
    /// A bucket for caches that several hosts share.
    pub cache: Option<CacheConfig>,
    /// `[runners.docker]`.
    pub docker: DockerConfig,
    /// Where the runner stands in the file, for errors.
    #[serde(skip)]
    pub origin: Origin,
}

impl RunnerConfig {
    /// Identifies this runner without revealing its token: a digest of the coordinator's address and the token, as 16
    /// hex digits. A runner is the same after its name or another setting was changed.
    #[must_use]
    pub fn identity(&self) -> String {
        let url = self.url.trim().trim_end_matches('/');
        let digest = Sha256::digest(format!("{url}\n{}", self.token.trim()));
        hex::encode(&digest[..8])
    }

    /// The first 8 characters of the token, which may be shown: in the log, and in the names of containers and volumes.
    /// So what such a name cannot have is `_`.
    ///
    /// They follow GitLab's prefixes, `glrt-` or `glrtr-` and a type such as `t1_`, which many tokens have in common.
    #[must_use]
    pub fn short_token(&self) -> String {
        let token = self.token.as_str();
        let plain = ["glrt-", "glrtr-"]
            .iter()
            .find_map(|prefix| token.strip_prefix(prefix));
        let token = plain.unwrap_or(token);
        let token = match token.split_once('_') {
            Some((kind, rest)) if kind.len() == 2 && kind.starts_with('t') => rest,
            _ => token,
        };
        token
            .chars()
            .take(8)
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
            .collect()
    }
}

/// `[runners.custom_build_dir]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct CustomBuildDir {
    /// Whether a job may choose the directory of its sources (`GIT_CLONE_PATH`); default: yes.
    pub enabled: Option<bool>,
}

#[cfg(test)]
mod tests {
    use super::RunnerConfig;

    #[test]
    fn short_tokens_are_eight_characters_after_the_prefix() {
        for (token, short) in [
            ("0123456789abcdef", "01234567"),
            ("glrt-abcdefghijk", "abcdefgh"),
            ("glrtr-abcdefghijk", "abcdefgh"),
            ("glrt-t1_abcdefghijk", "abcdefgh"),
            ("t3_abcdefghijk", "abcdefgh"),
            ("local", "local"),
            ("a/b:c d", "a_b_c_d"),
        ] {
            let config = RunnerConfig {
                token: token.to_owned(),
                ..RunnerConfig::default()
            };
            assert_eq!(config.short_token(), short, "{token}");
        }
    }
}
