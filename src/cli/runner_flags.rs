//! The settings of a runner as flags and environment: `[[runners]]` for commands that need no file.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;

use crate::config::{DockerConfig, RunnerConfig};
use crate::outcome::InputError;

/// Flags for the keys of `[[runners]]`, with those of `[runners.docker]`.
#[derive(Args)]
#[command(next_help_heading = "Runner settings")]
pub(super) struct RunnerFlags {
    /// A name of the runner, for people
    #[arg(
        long,
        visible_alias = "description",
        env = "RUNNER_NAME",
        value_name = "NAME"
    )]
    pub name: Option<String>,
    /// The address of the coordinator
    #[arg(long, short = 'u', env = "CI_SERVER_URL", value_name = "URL")]
    pub url: Option<String>,
    /// The runner's token; all users of the host can see it here: use the environment or --token-file
    #[arg(
        long,
        short = 't',
        env = "CI_SERVER_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    pub token: Option<String>,
    /// A file with the runner's token
    #[arg(long, env = "CI_SERVER_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// The executor; only docker is supported
    #[arg(long, env = "RUNNER_EXECUTOR", value_name = "EXECUTOR")]
    executor: Option<String>,
    /// How many jobs of this runner may run at once on this host; 0: no limit
    #[arg(long, env = "RUNNER_LIMIT", value_name = "NUMBER")]
    limit: Option<u32>,
    /// How many job requests may be open at once
    #[arg(long, env = "RUNNER_REQUEST_CONCURRENCY", value_name = "NUMBER")]
    request_concurrency: Option<u32>,
    /// How much of a job's log is kept
    #[arg(long, env = "RUNNER_OUTPUT_LIMIT", value_name = "KILOBYTES")]
    output_limit: Option<u64>,
    /// The shell of builds: bash or sh
    #[arg(long, env = "RUNNER_SHELL", value_name = "SHELL")]
    shell: Option<String>,
    /// The directory of sources in the containers
    #[arg(long, env = "RUNNER_BUILDS_DIR", value_name = "DIR")]
    builds_dir: Option<String>,
    /// The directory of caches in the containers
    #[arg(
        id = "runner_cache_dir",
        long = "cache-dir",
        env = "RUNNER_CACHE_DIR",
        value_name = "DIR"
    )]
    cache_dir: Option<String>,
    /// A variable of every job; repeatable
    #[arg(
        long = "env",
        env = "RUNNER_ENV",
        value_name = "KEY=VALUE",
        value_delimiter = ','
    )]
    environment: Option<Vec<String>>,
    /// The address to clone from, in place of the coordinator's
    #[arg(long, env = "CLONE_URL", value_name = "URL")]
    clone_url: Option<String>,
    /// Commands in the helper before it fetches the sources
    #[arg(long, env = "RUNNER_PRE_CLONE_SCRIPT", value_name = "COMMANDS")]
    pre_clone_script: Option<String>,
    /// Commands in the build's shell before the job's own
    #[arg(long, env = "RUNNER_PRE_BUILD_SCRIPT", value_name = "COMMANDS")]
    pre_build_script: Option<String>,
    /// Commands in the build's shell after the job's own
    #[arg(long, env = "RUNNER_POST_BUILD_SCRIPT", value_name = "COMMANDS")]
    post_build_script: Option<String>,
    /// A PEM file with certificate authorities to trust too, for the coordinator and for git
    #[arg(long, env = "CI_SERVER_TLS_CA_FILE", value_name = "FILE")]
    tls_ca_file: Option<PathBuf>,
    /// A PEM file with the client certificate for the coordinator
    #[arg(long, env = "CI_SERVER_TLS_CERT_FILE", value_name = "FILE")]
    tls_cert_file: Option<PathBuf>,
    /// A PEM file with the key of the client certificate
    #[arg(long, env = "CI_SERVER_TLS_KEY_FILE", value_name = "FILE")]
    tls_key_file: Option<PathBuf>,
    #[command(flatten)]
    docker: DockerConfig,
}

impl RunnerFlags {
    /// Whether flags or environment name a runner: a coordinator and a token.
    pub fn name_a_runner(&self) -> bool {
        self.url.is_some() && (self.token.is_some() || self.token_file.is_some())
    }

    /// The token, from the file or from flag and environment.
    ///
    /// # Errors
    /// [`InputError`] for a file that cannot be read.
    pub fn token(&self) -> Result<Option<String>, InputError> {
        match (&self.token_file, &self.token) {
            (Some(file), _) => read_token(file).map(Some),
            (None, token) => Ok(token.clone()),
        }
    }

    /// Settings of a runner, overridden by these.
    ///
    /// # Errors
    /// [`InputError`] for a file that cannot be read.
    pub fn over(self, config: RunnerConfig) -> Result<RunnerConfig> {
        let token = self.token()?;
        let mut config = config;
        config.docker = config.docker.overlaid_by(&self.docker)?;
        put(&mut config.name, self.name);
        put(&mut config.url, self.url);
        put(&mut config.token, token);
        put(&mut config.limit, self.limit);
        put(&mut config.environment, self.environment);
        let RunnerConfig {
            executor,
            request_concurrency,
            output_limit,
            shell,
            builds_dir,
            cache_dir,
            clone_url,
            pre_clone_script,
            pre_build_script,
            post_build_script,
            tls_ca_file,
            tls_cert_file,
            tls_key_file,
            ..
        } = &mut config;
        put_some(executor, self.executor);
        put_some(request_concurrency, self.request_concurrency);
        put_some(output_limit, self.output_limit);
        put_some(shell, self.shell);
        put_some(builds_dir, self.builds_dir);
        put_some(cache_dir, self.cache_dir);
        put_some(clone_url, self.clone_url);
        put_some(pre_clone_script, self.pre_clone_script);
        put_some(pre_build_script, self.pre_build_script);
        put_some(post_build_script, self.post_build_script);
        put_some(tls_ca_file, self.tls_ca_file);
        put_some(tls_cert_file, self.tls_cert_file);
        put_some(tls_key_file, self.tls_key_file);
        Ok(config)
    }

    /// A new runner with these settings, with a name, and with a volume for caches.
    ///
    /// # Errors
    /// As [`RunnerFlags::over`].
    pub fn new_runner(self) -> Result<RunnerConfig> {
        let mut config = self.over(RunnerConfig::default())?;
        if config.name.is_empty() {
            config.name = crate::worker::host::hostname();
        }
        let cache = config.cache_dir.clone();
        config.executor.get_or_insert_with(|| "docker".to_owned());
        let volumes = &mut config.docker.volumes;
        volumes.get_or_insert_with(|| vec![cache.unwrap_or_else(|| "/cache".to_owned())]);
        Ok(config)
    }
}

/// Reads a token from a file that has nothing else in it.
///
/// # Errors
/// [`InputError`] for a file that cannot be read.
pub(super) fn read_token(file: &Path) -> Result<String, InputError> {
    std::fs::read_to_string(file)
        .map(|text| text.trim().to_owned())
        .map_err(|error| {
            let file = file.display();
            InputError::new(format!("cannot read the token file {file}: {error}"))
        })
}

fn put<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn put_some<T>(place: &mut Option<T>, value: Option<T>) {
    if value.is_some() {
        *place = value;
    }
}
