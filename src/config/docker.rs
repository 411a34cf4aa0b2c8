//! `[runners.docker]`: one struct for the file, the `--docker-…` flags and the environment.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

use super::hosts;
use crate::docker::Engine;
use crate::job::{ImageSpec, OneOrMany};
use crate::outcome::InputError;

/// A table of strings.
pub type Table = BTreeMap<String, String>;
/// Lists of devices by patterns of images.
pub type DeviceTable = BTreeMap<String, Vec<String>>;

/// When an image is pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum PullPolicy {
    /// Pull each time.
    Always,
    /// Pull if the engine has no image of this name.
    IfNotPresent,
    /// Never pull.
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

/// The settings of a runner's containers. A key that is absent has its default. `config.toml.sample` says which
/// containers a key applies to: build, helper or services.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[command(next_help_heading = "Docker settings")]
#[serde(default)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "the keys are given by the format"
)]
pub struct DockerConfig {
    /// The engine: unix:///…, tcp://…, ssh://… or context:NAME
    #[arg(long = "docker-host", env = "DOCKER_HOST", value_name = "URL")]
    pub host: Option<String>,
    /// Several engines that share the jobs, each as in `host`
    #[arg(
        long = "docker-hosts",
        env = "DOCKER_HOSTS",
        value_name = "URL",
        value_delimiter = ',',
        value_parser = hosts::engine,
        hide_short_help = true
    )]
    pub hosts: Option<Vec<String>>,
    /// How many jobs each of `hosts` may run at once
    #[arg(
        long = "docker-jobs-per-host",
        env = "DOCKER_JOBS_PER_HOST",
        value_name = "NUMBER",
        value_parser = clap::value_parser!(u32).range(1..),
        hide_short_help = true
    )]
    pub jobs_per_host: Option<u32>,
    /// A directory with ca.pem, cert.pem and key.pem for the engine
    #[arg(
        long = "docker-tls-cert-path",
        env = "DOCKER_CERT_PATH",
        value_name = "DIR"
    )]
    pub tls_cert_path: Option<PathBuf>,
    /// Verify the engine's TLS certificate
    #[arg(long = "docker-tls-verify", env = "DOCKER_TLS_VERIFY", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch)]
    pub tls_verify: Option<bool>,
    /// The default image of jobs
    #[arg(long = "docker-image", env = "DOCKER_IMAGE", value_name = "IMAGE")]
    pub image: Option<String>,
    /// The image of the helper container, in place of the runner's own
    #[arg(
        long = "docker-helper-image",
        env = "DOCKER_HELPER_IMAGE",
        value_name = "IMAGE"
    )]
    pub helper_image: Option<String>,
    /// A service of every job: a name, or a table as JSON
    #[arg(long = "docker-services", env = "DOCKER_SERVICES", value_name = "IMAGE", value_delimiter = ',', value_parser = service)]
    pub services: Option<Vec<ImageSpec>>,
    /// When to pull images: always, if-not-present or never; several are tried in order
    #[arg(
        long = "docker-pull-policy",
        env = "DOCKER_PULL_POLICY",
        value_name = "POLICY",
        value_delimiter = ','
    )]
    #[serde(deserialize_with = "one_or_many")]
    pub pull_policy: Option<Vec<PullPolicy>>,
    /// Images that a job may use, as patterns; default: all
    #[arg(
        long = "docker-allowed-images",
        env = "DOCKER_ALLOWED_IMAGES",
        value_name = "PATTERN",
        value_delimiter = ',',
        hide_short_help = true
    )]
    pub allowed_images: Option<Vec<String>>,
    /// Services that a job may use, as patterns; default: all
    #[arg(
        long = "docker-allowed-services",
        env = "DOCKER_ALLOWED_SERVICES",
        value_name = "PATTERN",
        value_delimiter = ',',
        hide_short_help = true
    )]
    pub allowed_services: Option<Vec<String>>,
    /// Pull policies that may be used; default: all
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
    /// A volume: PATH (kept between jobs), HOST-PATH:PATH[:MODE] or NAME:PATH[:MODE]
    #[arg(
        long = "docker-volumes",
        env = "DOCKER_VOLUMES",
        value_name = "VOLUME",
        value_delimiter = ','
    )]
    pub volumes: Option<Vec<String>>,
    /// Do not keep PATH volumes between jobs
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
    /// The docker volume driver of PATH volumes
    #[arg(
        long = "docker-volume-driver",
        env = "DOCKER_VOLUME_DRIVER",
        value_name = "DRIVER",
        hide_short_help = true
    )]
    pub volume_driver: Option<String>,
    /// Options of that driver: {"KEY": "VALUE"}
    #[arg(long = "docker-volume-driver-ops", env = "DOCKER_VOLUME_DRIVER_OPS", value_name = "JSON", value_parser = table::<Table>, hide_short_help = true)]
    pub volume_driver_ops: Option<Table>,
    /// Leave the unnamed volumes that images want when their containers are removed
    #[arg(long = "docker-volume-keep", env = "DOCKER_VOLUME_KEEP", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch, hide_short_help = true)]
    pub volume_keep: Option<bool>,
    /// Containers whose volumes are mounted in the build too
    #[arg(
        long = "docker-volumes-from",
        env = "DOCKER_VOLUMES_FROM",
        value_name = "CONTAINER",
        value_delimiter = ',',
        hide_short_help = true
    )]
    pub volumes_from: Option<Vec<String>>,
    /// Directories of the build that are in memory: {"PATH": "OPTIONS"}
    #[arg(long = "docker-tmpfs", env = "DOCKER_TMPFS", value_name = "JSON", value_parser = table::<Table>, hide_short_help = true)]
    pub tmpfs: Option<Table>,
    /// Directories of services that are in memory: {"PATH": "OPTIONS"}
    #[arg(long = "docker-services-tmpfs", env = "DOCKER_SERVICES_TMPFS", value_name = "JSON", value_parser = table::<Table>, hide_short_help = true)]
    pub services_tmpfs: Option<Table>,
    /// The network of a job's containers, in place of one for each job: bridge, host, none, container:NAME or a name
    #[arg(
        long = "docker-network-mode",
        env = "DOCKER_NETWORK_MODE",
        value_name = "MODE"
    )]
    pub network_mode: Option<String>,
    /// Give the network of a job IPv6 addresses too
    #[arg(long = "docker-enable-ipv6", env = "DOCKER_ENABLE_IPV6", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch, hide_short_help = true)]
    pub enable_ipv6: Option<bool>,
    /// The MTU of the network of a job; default and 0: docker's
    #[arg(
        long = "docker-network-mtu",
        env = "DOCKER_NETWORK_MTU",
        value_name = "BYTES",
        hide_short_help = true
    )]
    pub network_mtu: Option<u32>,
    /// How many seconds to wait for services; default and 0: 30; negative: do not wait
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
    /// The processors that the build may use: 0,1 or 0-2
    #[arg(
        long = "docker-cpuset-cpus",
        env = "DOCKER_CPUSET_CPUS",
        value_name = "CPUS",
        hide_short_help = true
    )]
    pub cpuset_cpus: Option<String>,
    /// The memory nodes that the build may use: 0,1 or 0-2
    #[arg(
        long = "docker-cpuset-mems",
        env = "DOCKER_CPUSET_MEMS",
        value_name = "NODES",
        hide_short_help = true
    )]
    pub cpuset_mems: Option<String>,
    /// How many processors the build may use: 1.5
    #[arg(
        long = "docker-cpus",
        env = "DOCKER_CPUS",
        value_name = "NUMBER",
        hide_short_help = true
    )]
    pub cpus: Option<String>,
    /// The memory limit of the build, and of each service without `service_memory`: 512m
    #[arg(
        long = "docker-memory",
        env = "DOCKER_MEMORY",
        value_name = "SIZE",
        hide_short_help = true
    )]
    pub memory: Option<String>,
    /// The limit of memory and swap together, for the same containers as `memory`
    #[arg(
        long = "docker-memory-swap",
        env = "DOCKER_MEMORY_SWAP",
        value_name = "SIZE",
        hide_short_help = true
    )]
    pub memory_swap: Option<String>,
    /// The soft memory limit of the build
    #[arg(
        long = "docker-memory-reservation",
        env = "DOCKER_MEMORY_RESERVATION",
        value_name = "SIZE",
        hide_short_help = true
    )]
    pub memory_reservation: Option<String>,
    /// The memory limit of the helper; default: 4g; 0: no limit
    #[arg(
        long = "docker-helper-memory",
        env = "DOCKER_HELPER_MEMORY",
        value_name = "SIZE",
        hide_short_help = true
    )]
    pub helper_memory: Option<String>,
    /// How many processes and threads each container may have; negative: no limit
    #[arg(
        long = "docker-pids-limit",
        env = "DOCKER_PIDS_LIMIT",
        value_name = "NUMBER",
        allow_negative_numbers = true,
        hide_short_help = true
    )]
    pub pids_limit: Option<i64>,
    /// The CPU weight of the build; docker's default is 1024
    #[arg(
        long = "docker-cpu-shares",
        env = "DOCKER_CPU_SHARES",
        value_name = "NUMBER",
        allow_negative_numbers = true,
        hide_short_help = true
    )]
    pub cpu_shares: Option<i64>,
    /// The GPUs of the build: all
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
    /// Additional groups of the build's user
    #[arg(
        long = "docker-group-add",
        env = "DOCKER_GROUP_ADD",
        value_name = "GROUP",
        value_delimiter = ',',
        hide_short_help = true
    )]
    pub group_add: Option<Vec<String>>,
    /// Resource limits of the build: {"nofile": "1024:2048"}
    #[arg(long = "docker-ulimit", env = "DOCKER_ULIMIT", value_name = "JSON", value_parser = table::<Table>, hide_short_help = true)]
    pub ulimit: Option<Table>,
    /// Do not let the kernel kill the build when memory runs out
    #[arg(long = "docker-oom-kill-disable", env = "DOCKER_OOM_KILL_DISABLE", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch, hide_short_help = true)]
    pub oom_kill_disable: Option<bool>,
    /// The OOM score adjustment of the build, -1000 to 1000
    #[arg(
        long = "docker-oom-score-adjust",
        env = "DOCKER_OOM_SCORE_ADJUST",
        value_name = "NUMBER",
        allow_negative_numbers = true,
        hide_short_help = true
    )]
    pub oom_score_adjust: Option<i64>,
    /// The PID namespace of the build: host or container:NAME
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
    /// The parent control group of the build
    #[arg(
        long = "docker-cgroup-parent",
        env = "DOCKER_CGROUP_PARENT",
        value_name = "CGROUP",
        hide_short_help = true
    )]
    pub cgroup_parent: Option<String>,
    /// Device control group rules of the build: c 42:* rmw
    #[arg(
        long = "docker-device-cgroup-rules",
        env = "DOCKER_DEVICE_CGROUP_RULES",
        value_name = "RULE",
        value_delimiter = ',',
        hide_short_help = true
    )]
    pub device_cgroup_rules: Option<Vec<String>>,
    /// Do not let a job replace the entrypoint of an image
    #[arg(long = "docker-disable-entrypoint-overwrite", env = "DOCKER_DISABLE_ENTRYPOINT_OVERWRITE", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch, hide_short_help = true)]
    pub disable_entrypoint_overwrite: Option<bool>,
    /// Users that a build may run as, as patterns; default: all
    #[arg(
        long = "docker-allowed-users",
        env = "DOCKER_ALLOWED_USERS",
        value_name = "PATTERN",
        value_delimiter = ',',
        hide_short_help = true
    )]
    pub allowed_users: Option<Vec<String>>,
    /// Images that run privileged if `privileged` is on, as patterns; default: all
    #[arg(
        long = "docker-allowed-privileged-images",
        env = "DOCKER_ALLOWED_PRIVILEGED_IMAGES",
        value_name = "PATTERN",
        value_delimiter = ',',
        hide_short_help = true
    )]
    pub allowed_privileged_images: Option<Vec<String>>,
    /// Services that run privileged if `privileged` is on, as patterns; default: all
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
    /// Entries of /etc/hosts
    #[arg(
        long = "docker-extra-hosts",
        env = "DOCKER_EXTRA_HOSTS",
        value_name = "HOST:ADDRESS",
        value_delimiter = ',',
        hide_short_help = true
    )]
    pub extra_hosts: Option<Vec<String>>,
    /// Containers on the default bridge to link to the build
    #[arg(
        long = "docker-links",
        env = "DOCKER_LINKS",
        value_name = "CONTAINER:ALIAS",
        value_delimiter = ',',
        hide_short_help = true
    )]
    pub links: Option<Vec<String>>,
    /// Capabilities to add to the build, and to services if `cap_drop` has ALL
    #[arg(
        long = "docker-cap-add",
        env = "DOCKER_CAP_ADD",
        value_name = "CAPABILITY",
        value_delimiter = ',',
        hide_short_help = true
    )]
    pub cap_add: Option<Vec<String>>,
    /// Capabilities to drop from builds and services
    #[arg(
        long = "docker-cap-drop",
        env = "DOCKER_CAP_DROP",
        value_name = "CAPABILITY",
        value_delimiter = ',',
        hide_short_help = true
    )]
    pub cap_drop: Option<Vec<String>>,
    /// Security options of the build, and of services without `services_security_opt`
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
    /// The size of /dev/shm in builds and services, in bytes
    #[arg(
        long = "docker-shm-size",
        env = "DOCKER_SHM_SIZE",
        value_name = "BYTES",
        allow_negative_numbers = true,
        hide_short_help = true
    )]
    pub shm_size: Option<i64>,
    /// Additional labels of everything that is created for a job
    #[arg(long = "docker-container-labels", env = "DOCKER_CONTAINER_LABELS", value_name = "JSON", value_parser = table::<Table>, hide_short_help = true)]
    pub container_labels: Option<Table>,
    /// What docker writes into its own log of builds and services beside their output, `env` and `labels`: {"labels": "NAME,NAME"}
    #[arg(long = "docker-log-options", env = "DOCKER_LOG_OPTIONS", value_name = "JSON", value_parser = table::<Table>, hide_short_help = true)]
    pub log_options: Option<Table>,
    /// How many services a job may have; 0: none; default and negative: no limit
    #[arg(
        long = "docker-services-limit",
        env = "DOCKER_SERVICES_LIMIT",
        value_name = "NUMBER",
        allow_negative_numbers = true,
        hide_short_help = true
    )]
    pub services_limit: Option<i64>,
    /// The memory limit of each service
    #[arg(
        long = "docker-service-memory",
        env = "DOCKER_SERVICE_MEMORY",
        value_name = "SIZE",
        hide_short_help = true
    )]
    pub service_memory: Option<String>,
    /// The limit of memory and swap together of each service
    #[arg(
        long = "docker-service-memory-swap",
        env = "DOCKER_SERVICE_MEMORY_SWAP",
        value_name = "SIZE",
        hide_short_help = true
    )]
    pub service_memory_swap: Option<String>,
    /// The soft memory limit of each service
    #[arg(
        long = "docker-service-memory-reservation",
        env = "DOCKER_SERVICE_MEMORY_RESERVATION",
        value_name = "SIZE",
        hide_short_help = true
    )]
    pub service_memory_reservation: Option<String>,
    /// How many processors each service may use
    #[arg(
        long = "docker-service-cpus",
        env = "DOCKER_SERVICE_CPUS",
        value_name = "NUMBER",
        hide_short_help = true
    )]
    pub service_cpus: Option<String>,
    /// The processors that each service may use
    #[arg(
        long = "docker-service-cpuset-cpus",
        env = "DOCKER_SERVICE_CPUSET_CPUS",
        value_name = "CPUS",
        hide_short_help = true
    )]
    pub service_cpuset_cpus: Option<String>,
    /// The CPU weight of each service
    #[arg(
        long = "docker-service-cpu-shares",
        env = "DOCKER_SERVICE_CPU_SHARES",
        value_name = "NUMBER",
        allow_negative_numbers = true,
        hide_short_help = true
    )]
    pub service_cpu_shares: Option<i64>,
    /// The GPUs of each service: all
    #[arg(
        long = "docker-service-gpus",
        env = "DOCKER_SERVICE_GPUS",
        value_name = "GPUS",
        hide_short_help = true
    )]
    pub service_gpus: Option<String>,
    /// The parent control group of each service
    #[arg(
        long = "docker-service-cgroup-parent",
        env = "DOCKER_SERVICE_CGROUP_PARENT",
        value_name = "CGROUP",
        hide_short_help = true
    )]
    pub service_cgroup_parent: Option<String>,
    /// Whether services run privileged; default: as `privileged` says
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
    /// Devices of services: a list for each pattern of images
    #[arg(long = "docker-services-devices", env = "DOCKER_SERVICES_DEVICES", value_name = "JSON", value_parser = table::<DeviceTable>, hide_short_help = true)]
    pub services_devices: Option<DeviceTable>,
}

impl DockerConfig {
    /// How to reach the engines: those of the pool, else the only one. Certificates are for `tcp://` in a pool.
    ///
    /// # Errors
    /// [`InputError`] for what is no pool: a file was checked, and flags with the environment are checked here.
    pub fn engines(&self) -> Result<Vec<Engine>, InputError> {
        self.check_hosts()
            .map_err(|wrong| InputError::new(wrong.what))?;
        let hosts = self.hosts.as_deref().unwrap_or_default();
        if hosts.is_empty() {
            return Ok(vec![self.engine(self.host.as_deref())]);
        }
        let hosts = hosts.iter().map(|host| match host {
            tcp if tcp.starts_with("tcp://") => self.engine(Some(tcp)),
            other => Engine {
                host: Some(other.clone()),
                ..Engine::default()
            },
        });
        Ok(hosts.collect())
    }

    pub(super) fn check_hosts(&self) -> Result<(), hosts::Wrong> {
        let hosts = self.hosts.as_deref().unwrap_or_default();
        hosts::check(self.host.as_deref(), hosts, self.jobs_per_host)
    }

    /// The first of [`DockerConfig::engines`], which for most is the only one.
    ///
    /// # Errors
    /// As there.
    pub fn first_engine(&self) -> Result<Engine, InputError> {
        Ok(self.engines()?.swap_remove(0))
    }

    fn engine(&self, host: Option<&str>) -> Engine {
        Engine {
            host: host.map(ToOwned::to_owned),
            tls_cert_path: self.tls_cert_path.clone(),
            tls_verify: self.tls_verify.unwrap_or(false),
        }
    }

    /// How many jobs each engine of the pool may run at once; `None`: there is no pool, and any number.
    #[must_use]
    pub fn jobs_per_engine(&self) -> Option<u32> {
        let is_pool = self.hosts.as_ref().is_some_and(|hosts| !hosts.is_empty());
        is_pool.then(|| self.jobs_per_host.unwrap_or(1))
    }

    /// These settings, overridden by those that `other` has.
    ///
    /// # Errors
    /// If a setting cannot be written as JSON, which is a defect.
    pub fn overlaid_by(&self, other: &Self) -> serde_json::Result<Self> {
        let mut merged = serde_json::to_value(self)?;
        let over = serde_json::to_value(other)?;
        if let (Some(merged), serde_json::Value::Object(over)) = (merged.as_object_mut(), over) {
            // One engine takes the place of several, and the other way round.
            for (this, that) in [("host", "hosts"), ("hosts", "host")] {
                if over.get(this).is_some_and(|value| !value.is_null()) {
                    merged.remove(that);
                }
            }
            merged.extend(over.into_iter().filter(|(_, value)| !value.is_null()));
        }
        serde_json::from_value(merged)
    }

    /// The services of every job. One name may be several with commas between them, as in the environment.
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

/// Reads the value of a switch. An empty value is off, as docker reads `DOCKER_TLS_VERIFY`.
fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "" | "0" | "false" | "no" | "off" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    }
}

/// Reads a table that a flag has as JSON.
fn table<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| format!("not a JSON table: {error}"))
}

/// Reads a service that a flag has as a name or as JSON.
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
