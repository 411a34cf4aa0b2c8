//! `[runners.docker]`: one struct for the file, the `--docker-…` flags and the environment.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

use crate::docker::Engine;
use crate::job::{ImageSpec, OneOrMany};

/// A table of strings.
pub type Table = BTreeMap<String, String>;
/// Devices by image.
pub type DeviceTable = BTreeMap<String, Vec<String>>;

/// When an image is pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum PullPolicy {
    /// Every time.
    Always,
    /// If the engine has none of this name.
    IfNotPresent,
    /// Never.
    Never,
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

/// The settings of a runner's containers. A key that is absent has its default. Where a key counts, build,
/// helper or services, stands in `config.toml.sample`.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[command(next_help_heading = "Docker settings")]
#[serde(default)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "the keys are given by the format"
)]
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
    #[arg(long = "docker-tls-verify", env = "DOCKER_TLS_VERIFY", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch)]
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
    /// A service of every job; a table as JSON
    #[arg(long = "docker-services", env = "DOCKER_SERVICES", value_name = "IMAGE", value_delimiter = ',', value_parser = service)]
    pub services: Option<Vec<ImageSpec>>,
    /// When to pull: always, if-not-present, never; several are tried in turn
    #[arg(
        long = "docker-pull-policy",
        env = "DOCKER_PULL_POLICY",
        value_name = "POLICY",
        value_delimiter = ','
    )]
    #[serde(deserialize_with = "one_or_many")]
    pub pull_policy: Option<Vec<PullPolicy>>,
    /// Images that a job may name, with * and ?; none: all
    #[arg(
        long = "docker-allowed-images",
        env = "DOCKER_ALLOWED_IMAGES",
        value_name = "PATTERN",
        value_delimiter = ',',
        hide_short_help = true
    )]
    pub allowed_images: Option<Vec<String>>,
    /// Services that a job may name, with * and ?; none: all
    #[arg(
        long = "docker-allowed-services",
        env = "DOCKER_ALLOWED_SERVICES",
        value_name = "PATTERN",
        value_delimiter = ',',
        hide_short_help = true
    )]
    pub allowed_services: Option<Vec<String>>,
    /// Pull policies that may be used; none: all
    #[arg(
        long = "docker-allowed-pull-policies",
        env = "DOCKER_ALLOWED_PULL_POLICIES",
        value_name = "POLICY",
        value_delimiter = ',',
        hide_short_help = true
    )]
    pub allowed_pull_policies: Option<Vec<PullPolicy>>,
    /// Run builds and services with --privileged
    #[arg(long = "docker-privileged", env = "DOCKER_PRIVILEGED", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch)]
    pub privileged: Option<bool>,
    /// PATH (kept between runs), HOST-PATH:PATH[:MODE] or NAME:PATH[:MODE]
    #[arg(
        long = "docker-volumes",
        env = "DOCKER_VOLUMES",
        value_name = "VOLUME",
        value_delimiter = ','
    )]
    pub volumes: Option<Vec<String>>,
    /// Keep no PATH volumes between runs
    #[arg(long = "docker-disable-cache", env = "DOCKER_DISABLE_CACHE", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch, hide_short_help = true)]
    pub disable_cache: Option<bool>,
    /// A directory of the engine's host for PATH volumes, in place of docker volumes
    #[arg(
        long = "docker-cache-dir",
        env = "DOCKER_CACHE_DIR",
        value_name = "DIR",
        hide_short_help = true
    )]
    pub cache_dir: Option<String>,
    /// The driver of PATH volumes
    #[arg(
        long = "docker-volume-driver",
        env = "DOCKER_VOLUME_DRIVER",
        value_name = "DRIVER",
        hide_short_help = true
    )]
    pub volume_driver: Option<String>,
    /// Containers whose volumes build and helper get too
    #[arg(
        long = "docker-volumes-from",
        env = "DOCKER_VOLUMES_FROM",
        value_name = "CONTAINER",
        value_delimiter = ',',
        hide_short_help = true
    )]
    pub volumes_from: Option<Vec<String>>,
    /// Directories of the build in memory: {"PATH": "OPTIONS"}
    #[arg(long = "docker-tmpfs", env = "DOCKER_TMPFS", value_name = "JSON", value_parser = table::<Table>, hide_short_help = true)]
    pub tmpfs: Option<Table>,
    /// Directories of services in memory: {"PATH": "OPTIONS"}
    #[arg(long = "docker-services-tmpfs", env = "DOCKER_SERVICES_TMPFS", value_name = "JSON", value_parser = table::<Table>, hide_short_help = true)]
    pub services_tmpfs: Option<Table>,
    /// A network in place of one of the job's own: bridge, host, none, container:NAME or a name
    #[arg(
        long = "docker-network-mode",
        env = "DOCKER_NETWORK_MODE",
        value_name = "MODE"
    )]
    pub network_mode: Option<String>,
    /// How long to wait for services; 0: 30, negative: not at all
    #[arg(
        long = "docker-wait-for-services-timeout",
        env = "DOCKER_WAIT_FOR_SERVICES_TIMEOUT",
        value_name = "SECONDS",
        allow_negative_numbers = true
    )]
    pub wait_for_services_timeout: Option<i64>,
    /// The hostname of the build
    #[arg(
        long = "docker-hostname",
        env = "DOCKER_HOSTNAME",
        value_name = "NAME",
        hide_short_help = true
    )]
    pub hostname: Option<String>,
    /// The OCI runtime of build and helper
    #[arg(
        long = "docker-runtime",
        env = "DOCKER_RUNTIME",
        value_name = "NAME",
        hide_short_help = true
    )]
    pub runtime: Option<String>,
    /// The processors of the build: 0,1 or 0-2
    #[arg(
        long = "docker-cpuset-cpus",
        env = "DOCKER_CPUSET_CPUS",
        value_name = "CPUS",
        hide_short_help = true
    )]
    pub cpuset_cpus: Option<String>,
    /// How many processors the build gets: 1.5
    #[arg(
        long = "docker-cpus",
        env = "DOCKER_CPUS",
        value_name = "NUMBER",
        hide_short_help = true
    )]
    pub cpus: Option<String>,
    /// The memory of the build, and of each service that is given none of its own: 512m
    #[arg(
        long = "docker-memory",
        env = "DOCKER_MEMORY",
        value_name = "SIZE",
        hide_short_help = true
    )]
    pub memory: Option<String>,
    /// Memory and swap together, for what `memory` counts for
    #[arg(
        long = "docker-memory-swap",
        env = "DOCKER_MEMORY_SWAP",
        value_name = "SIZE",
        hide_short_help = true
    )]
    pub memory_swap: Option<String>,
    /// The memory that the build keeps under pressure
    #[arg(
        long = "docker-memory-reservation",
        env = "DOCKER_MEMORY_RESERVATION",
        value_name = "SIZE",
        hide_short_help = true
    )]
    pub memory_reservation: Option<String>,
    /// The memory of the helper, 4g if not set; 0: any amount
    #[arg(
        long = "docker-helper-memory",
        env = "DOCKER_HELPER_MEMORY",
        value_name = "SIZE",
        hide_short_help = true
    )]
    pub helper_memory: Option<String>,
    /// How many processes and threads each container may have at once; negative: any number
    #[arg(
        long = "docker-pids-limit",
        env = "DOCKER_PIDS_LIMIT",
        value_name = "NUMBER",
        allow_negative_numbers = true,
        hide_short_help = true
    )]
    pub pids_limit: Option<i64>,
    /// The weight of the build among others, 1024 is usual
    #[arg(
        long = "docker-cpu-shares",
        env = "DOCKER_CPU_SHARES",
        value_name = "NUMBER",
        allow_negative_numbers = true,
        hide_short_help = true
    )]
    pub cpu_shares: Option<i64>,
    /// The graphics processors of the build: all
    #[arg(
        long = "docker-gpus",
        env = "DOCKER_GPUS",
        value_name = "GPUS",
        hide_short_help = true
    )]
    pub gpus: Option<String>,
    /// The user of the build, in place of its image's
    #[arg(
        long = "docker-user",
        env = "DOCKER_USER",
        value_name = "USER",
        hide_short_help = true
    )]
    pub user: Option<String>,
    /// Groups that the build's user is in too
    #[arg(
        long = "docker-group-add",
        env = "DOCKER_GROUP_ADD",
        value_name = "GROUP",
        value_delimiter = ',',
        hide_short_help = true
    )]
    pub group_add: Option<Vec<String>>,
    /// Limits of the build: {"nofile": "1024:2048"}
    #[arg(long = "docker-ulimit", env = "DOCKER_ULIMIT", value_name = "JSON", value_parser = table::<Table>, hide_short_help = true)]
    pub ulimit: Option<Table>,
    /// Do not end the build for lack of memory
    #[arg(long = "docker-oom-kill-disable", env = "DOCKER_OOM_KILL_DISABLE", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch, hide_short_help = true)]
    pub oom_kill_disable: Option<bool>,
    /// How gladly the kernel ends the build, -1000 to 1000
    #[arg(
        long = "docker-oom-score-adjust",
        env = "DOCKER_OOM_SCORE_ADJUST",
        value_name = "NUMBER",
        allow_negative_numbers = true,
        hide_short_help = true
    )]
    pub oom_score_adjust: Option<i64>,
    /// The process namespace of the build: host, container:NAME
    #[arg(
        long = "docker-pid-mode",
        env = "DOCKER_PID_MODE",
        value_name = "MODE",
        hide_short_help = true
    )]
    pub pid_mode: Option<String>,
    /// The IPC namespace of the build
    #[arg(
        long = "docker-ipcmode",
        env = "DOCKER_IPCMODE",
        value_name = "MODE",
        hide_short_help = true
    )]
    pub ipcmode: Option<String>,
    /// The MAC address of the build
    #[arg(
        long = "docker-mac-address",
        env = "DOCKER_MAC_ADDRESS",
        value_name = "MAC",
        hide_short_help = true
    )]
    pub mac_address: Option<String>,
    /// The control group above the build
    #[arg(
        long = "docker-cgroup-parent",
        env = "DOCKER_CGROUP_PARENT",
        value_name = "CGROUP",
        hide_short_help = true
    )]
    pub cgroup_parent: Option<String>,
    /// Rules for devices of the build: c 42:* rmw
    #[arg(
        long = "docker-device-cgroup-rules",
        env = "DOCKER_DEVICE_CGROUP_RULES",
        value_name = "RULE",
        value_delimiter = ',',
        hide_short_help = true
    )]
    pub device_cgroup_rules: Option<Vec<String>>,
    /// A job may not replace an image's entrypoint
    #[arg(long = "docker-disable-entrypoint-overwrite", env = "DOCKER_DISABLE_ENTRYPOINT_OVERWRITE", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch, hide_short_help = true)]
    pub disable_entrypoint_overwrite: Option<bool>,
    /// Users that a build may run as, with * and ?; none: all
    #[arg(
        long = "docker-allowed-users",
        env = "DOCKER_ALLOWED_USERS",
        value_name = "PATTERN",
        value_delimiter = ',',
        hide_short_help = true
    )]
    pub allowed_users: Option<Vec<String>>,
    /// Images that are run privileged where `privileged` is on; none: all
    #[arg(
        long = "docker-allowed-privileged-images",
        env = "DOCKER_ALLOWED_PRIVILEGED_IMAGES",
        value_name = "PATTERN",
        value_delimiter = ',',
        hide_short_help = true
    )]
    pub allowed_privileged_images: Option<Vec<String>>,
    /// Services that are run privileged where `privileged` is on; none: all
    #[arg(
        long = "docker-allowed-privileged-services",
        env = "DOCKER_ALLOWED_PRIVILEGED_SERVICES",
        value_name = "PATTERN",
        value_delimiter = ',',
        hide_short_help = true
    )]
    pub allowed_privileged_services: Option<Vec<String>>,
    /// DNS servers
    #[arg(
        long = "docker-dns",
        env = "DOCKER_DNS",
        value_name = "ADDRESS",
        value_delimiter = ',',
        hide_short_help = true
    )]
    pub dns: Option<Vec<String>>,
    /// DNS search domains
    #[arg(
        long = "docker-dns-search",
        env = "DOCKER_DNS_SEARCH",
        value_name = "DOMAIN",
        value_delimiter = ',',
        hide_short_help = true
    )]
    pub dns_search: Option<Vec<String>>,
    /// Names for /etc/hosts
    #[arg(
        long = "docker-extra-hosts",
        env = "DOCKER_EXTRA_HOSTS",
        value_name = "HOST:ADDRESS",
        value_delimiter = ',',
        hide_short_help = true
    )]
    pub extra_hosts: Option<Vec<String>>,
    /// Containers of the default bridge to link the build with
    #[arg(
        long = "docker-links",
        env = "DOCKER_LINKS",
        value_name = "CONTAINER:ALIAS",
        value_delimiter = ',',
        hide_short_help = true
    )]
    pub links: Option<Vec<String>>,
    /// Capabilities that the build gets; services too, where they lose ALL
    #[arg(
        long = "docker-cap-add",
        env = "DOCKER_CAP_ADD",
        value_name = "CAPABILITY",
        value_delimiter = ',',
        hide_short_help = true
    )]
    pub cap_add: Option<Vec<String>>,
    /// Capabilities that build and services lose
    #[arg(
        long = "docker-cap-drop",
        env = "DOCKER_CAP_DROP",
        value_name = "CAPABILITY",
        value_delimiter = ',',
        hide_short_help = true
    )]
    pub cap_drop: Option<Vec<String>>,
    /// Security options of the build, and of services that are given none of their own
    #[arg(
        long = "docker-security-opt",
        env = "DOCKER_SECURITY_OPT",
        value_name = "OPTION",
        value_delimiter = ',',
        hide_short_help = true
    )]
    pub security_opt: Option<Vec<String>>,
    /// Devices of the build: /dev/kvm
    #[arg(
        long = "docker-devices",
        env = "DOCKER_DEVICES",
        value_name = "DEVICE",
        value_delimiter = ',',
        hide_short_help = true
    )]
    pub devices: Option<Vec<String>>,
    /// The user namespace of all containers
    #[arg(
        long = "docker-userns-mode",
        env = "DOCKER_USERNS_MODE",
        value_name = "MODE",
        hide_short_help = true
    )]
    pub userns_mode: Option<String>,
    /// Kernel parameters of the build: {"net.core.somaxconn": "1024"}
    #[arg(long = "docker-sysctls", env = "DOCKER_SYSCTLS", value_name = "JSON", value_parser = table::<Table>, hide_short_help = true)]
    pub sysctls: Option<Table>,
    /// The size of /dev/shm in build and services
    #[arg(
        long = "docker-shm-size",
        env = "DOCKER_SHM_SIZE",
        value_name = "BYTES",
        allow_negative_numbers = true,
        hide_short_help = true
    )]
    pub shm_size: Option<i64>,
    /// Labels of everything that is made for a job
    #[arg(long = "docker-container-labels", env = "DOCKER_CONTAINER_LABELS", value_name = "JSON", value_parser = table::<Table>, hide_short_help = true)]
    pub container_labels: Option<Table>,
    /// How many services a job may have; 0: none, absent or negative: any number
    #[arg(
        long = "docker-services-limit",
        env = "DOCKER_SERVICES_LIMIT",
        value_name = "NUMBER",
        allow_negative_numbers = true,
        hide_short_help = true
    )]
    pub services_limit: Option<i64>,
    /// The memory of each service
    #[arg(
        long = "docker-service-memory",
        env = "DOCKER_SERVICE_MEMORY",
        value_name = "SIZE",
        hide_short_help = true
    )]
    pub service_memory: Option<String>,
    /// Memory and swap of each service together
    #[arg(
        long = "docker-service-memory-swap",
        env = "DOCKER_SERVICE_MEMORY_SWAP",
        value_name = "SIZE",
        hide_short_help = true
    )]
    pub service_memory_swap: Option<String>,
    /// The memory that each service keeps under pressure
    #[arg(
        long = "docker-service-memory-reservation",
        env = "DOCKER_SERVICE_MEMORY_RESERVATION",
        value_name = "SIZE",
        hide_short_help = true
    )]
    pub service_memory_reservation: Option<String>,
    /// How many processors each service gets
    #[arg(
        long = "docker-service-cpus",
        env = "DOCKER_SERVICE_CPUS",
        value_name = "NUMBER",
        hide_short_help = true
    )]
    pub service_cpus: Option<String>,
    /// The processors of each service
    #[arg(
        long = "docker-service-cpuset-cpus",
        env = "DOCKER_SERVICE_CPUSET_CPUS",
        value_name = "CPUS",
        hide_short_help = true
    )]
    pub service_cpuset_cpus: Option<String>,
    /// The weight of each service
    #[arg(
        long = "docker-service-cpu-shares",
        env = "DOCKER_SERVICE_CPU_SHARES",
        value_name = "NUMBER",
        allow_negative_numbers = true,
        hide_short_help = true
    )]
    pub service_cpu_shares: Option<i64>,
    /// Run services privileged, or not, whatever `privileged` says
    #[arg(long = "docker-services-privileged", env = "DOCKER_SERVICES_PRIVILEGED", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch, hide_short_help = true)]
    pub services_privileged: Option<bool>,
    /// Security options of services
    #[arg(
        long = "docker-services-security-opt",
        env = "DOCKER_SERVICES_SECURITY_OPT",
        value_name = "OPTION",
        value_delimiter = ',',
        hide_short_help = true
    )]
    pub services_security_opt: Option<Vec<String>>,
    /// Devices of services, a list of them for each pattern of images
    #[arg(long = "docker-services-devices", env = "DOCKER_SERVICES_DEVICES", value_name = "JSON", value_parser = table::<DeviceTable>, hide_short_help = true)]
    pub services_devices: Option<DeviceTable>,
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

    /// These settings, with those of `other` in their place where it has any: a file's and the flags'.
    ///
    /// # Errors
    /// If a setting cannot be written as JSON, which none of them does.
    pub fn overlaid_by(&self, other: &Self) -> serde_json::Result<Self> {
        let mut merged = serde_json::to_value(self)?;
        let over = serde_json::to_value(other)?;
        if let (Some(merged), serde_json::Value::Object(over)) = (merged.as_object_mut(), over) {
            merged.extend(over.into_iter().filter(|(_, value)| !value.is_null()));
        }
        serde_json::from_value(merged)
    }

    /// The services of every job. In the environment, commas separate them.
    pub fn services(&self) -> impl Iterator<Item = ImageSpec> {
        self.services.iter().flatten().flat_map(|spec| {
            let names = spec.name.split(',').filter(|name| !name.is_empty());
            names
                .map(|name| ImageSpec {
                    name: name.trim().to_owned(),
                    ..spec.clone()
                })
                .collect::<Vec<_>>()
        })
    }
}

/// A switch that is given a value. An empty one is off, as docker reads `DOCKER_TLS_VERIFY`.
fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "" | "0" | "false" | "no" | "off" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    }
}

/// A table as a flag has it: JSON.
fn table<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| format!("not a JSON table: {error}"))
}

/// A service as a flag has it: a name, or a JSON table.
fn service(text: &str) -> Result<ImageSpec, String> {
    if text.trim_start().starts_with('{') {
        return table(text);
    }
    Ok(ImageSpec {
        name: text.to_owned(),
        ..ImageSpec::default()
    })
}

fn one_or_many<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    input: D,
) -> Result<Option<Vec<T>>, D::Error> {
    Option::<OneOrMany<T>>::deserialize(input).map(|form| form.map(Vec::from))
}
