//! The tables of `config.toml`.

mod check;
mod docker;
pub mod edit;
mod file;
mod keys;
mod place;
#[cfg(test)]
mod sample;
mod typed;
mod volume;

use std::path::PathBuf;

use log::LevelFilter;
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest, Sha256};

pub use docker::{DeviceTable, DockerConfig, PullPolicy, Table};
pub use file::{Loaded, load};
pub use keys::UnknownKey;
pub use place::Origin;
pub use volume::{Source, Volume, absolute, normal};

/// The whole file.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub struct Config {
    /// How many jobs may run at once, over all runners.
    pub concurrent: u32,
    /// Seconds between two job requests; 0: 3.
    pub check_interval: u64,
    /// How much the runner logs.
    #[serde(deserialize_with = "log_level")]
    pub log_level: Option<LevelFilter>,
    /// `text` or `json`.
    pub log_format: Option<String>,
    /// Where metrics are served, `host:port`.
    #[serde(alias = "listen_address")]
    pub metrics_server: Option<String>,
    /// Seconds that jobs have to end in when the runner is stopped.
    pub shutdown_timeout: Option<u64>,
    /// The runners.
    pub runners: Vec<RunnerConfig>,
}

/// The levels `fatal` and `panic` of other runners' files are `error` here.
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

/// `[[runners]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct RunnerConfig {
    /// A name for people.
    pub name: String,
    /// The coordinator's address.
    pub url: String,
    /// The token that authenticates it to the coordinator. A secret.
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
    /// How many job requests may be open at once.
    pub request_concurrency: Option<u32>,
    /// How much of a job's log is kept, in kilobytes.
    pub output_limit: Option<u64>,
    /// Only `docker` is supported.
    pub executor: Option<String>,
    /// The shell of builds: `sh`, or `bash` (the default), which is bash if the image has it, else sh.
    pub shell: Option<String>,
    /// The directory of sources in the containers.
    pub builds_dir: Option<String>,
    /// The directory of caches in the containers.
    pub cache_dir: Option<String>,
    /// Variables of every job, `KEY=value` each.
    pub environment: Vec<String>,
    /// The address to clone from in place of the coordinator's.
    pub clone_url: Option<String>,
    /// Runs in the helper before sources are fetched.
    #[serde(alias = "pre_get_sources_script")]
    pub pre_clone_script: Option<String>,
    /// Runs in the build's shell before the job's commands.
    pub pre_build_script: Option<String>,
    /// Runs in the build's shell after the job's commands.
    pub post_build_script: Option<String>,
    /// Whether `CI_DEBUG_TRACE` is ignored.
    pub debug_trace_disabled: Option<bool>,
    /// A bucket for caches that several hosts share.
    pub cache: Option<CacheConfig>,
    /// Its docker settings.
    pub docker: DockerConfig,
    /// The place in the file, for errors.
    #[serde(skip)]
    pub origin: Origin,
}

impl RunnerConfig {
    /// Identifies this runner without revealing its token: a digest of the coordinator's address and the token.
    #[must_use]
    pub fn identity(&self) -> String {
        let url = self.url.trim().trim_end_matches('/');
        let digest = Sha256::digest(format!("{url}\n{}", self.token.trim()));
        hex::encode(&digest[..8])
    }

    /// The first 8 characters of the token, after a prefix such as `glrt-` or `t1_`.
    #[must_use]
    pub fn short_token(&self) -> String {
        let token = self.token.as_str();
        let token = token.strip_prefix("glrt-").unwrap_or(token);
        let token = match token.split_once('_') {
            Some((prefix, rest)) if prefix.len() == 2 && prefix.starts_with('t') => rest,
            _ => token,
        };
        token
            .chars()
            .take(8)
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
            .collect()
    }
}

/// `[runners.cache]`. The keys of the bucket may also be in `[runners.cache.s3]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct CacheConfig {
    /// `s3`.
    pub r#type: Option<String>,
    /// A prefix of the names in the bucket.
    pub path: Option<String>,
    /// Whether all runners share the caches.
    pub shared: bool,
    /// As in [`S3Config`].
    pub server_address: Option<String>,
    /// As in [`S3Config`].
    pub access_key: Option<String>,
    /// As in [`S3Config`]. A secret.
    pub secret_key: Option<String>,
    /// As in [`S3Config`].
    pub bucket_name: Option<String>,
    /// As in [`S3Config`].
    pub bucket_location: Option<String>,
    /// As in [`S3Config`].
    pub insecure: Option<bool>,
    /// `[runners.cache.s3]`.
    #[serde(rename = "s3")]
    pub s3: Option<S3Config>,
}

impl CacheConfig {
    /// The bucket: the keys of `[runners.cache.s3]`, else those of `[runners.cache]`.
    #[must_use]
    pub fn bucket(&self) -> S3Config {
        let below = self.s3.clone().unwrap_or_default();
        let here = self.clone();
        S3Config {
            server_address: below.server_address.or(here.server_address),
            access_key: below.access_key.or(here.access_key),
            secret_key: below.secret_key.or(here.secret_key),
            bucket_name: below.bucket_name.or(here.bucket_name),
            bucket_location: below.bucket_location.or(here.bucket_location),
            insecure: below.insecure.or(here.insecure),
        }
    }
}

/// An S3 server and a bucket on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct S3Config {
    /// `host[:port]`.
    pub server_address: Option<String>,
    /// The id of the access key.
    pub access_key: Option<String>,
    /// The access key itself. A secret.
    pub secret_key: Option<String>,
    /// The bucket.
    pub bucket_name: Option<String>,
    /// Its region.
    pub bucket_location: Option<String>,
    /// HTTP in place of HTTPS.
    pub insecure: Option<bool>,
}

#[cfg(test)]
mod tests {
    use super::RunnerConfig;

    #[test]
    fn short_tokens_are_eight_characters_after_the_prefix() {
        for (token, short) in [
            ("0123456789abcdef", "01234567"),
            ("glrt-abcdefghijk", "abcdefgh"),
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
