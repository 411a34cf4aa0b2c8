//! The settings of `[runners.docker]` that are options of docker by another name, and the containers that
//! they count for (manual, "configuration").

use super::allowed::allows;
use super::names::LABEL;
use crate::config::{DockerConfig, Table};
use crate::docker::{DockerCommand, DockerError};

type Value<'a> = (&'static str, &'a Option<String>);
type List<'a> = (&'static str, &'a Option<Vec<String>>);
/// The option, the table, and what is between a key and its value.
type Pairs<'a> = (&'static str, &'a Option<Table>, char);

/// Options that are called otherwise than the key of `[runners.docker]` that they come from, and that key.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("add-host", "extra_hosts"),
    ("device", "devices"),
    ("device-cgroup-rule", "device_cgroup_rules"),
    ("ipc", "ipcmode"),
    ("label", "container_labels"),
    ("ipv6", "enable_ipv6"),
    ("link", "links"),
    ("log-opt", "log_options"),
    ("mount", "volumes"),
    ("network", "network_mode"),
    ("oom-score-adj", "oom_score_adjust"),
    ("pid", "pid_mode"),
    ("sysctl", "sysctls"),
    ("userns", "userns_mode"),
    ("volume", "volumes"),
];

/// What the keys begin with that count for one kind of container only, by the label of those.
const OF_CONTAINERS: &[(&str, &[&str])] = &[
    ("helper", &["helper_"]),
    ("service", &["service_", "services_"]),
];

/// Where the value of an option stands that a client refuses by its name, as the end of a sentence: the key of the
/// container that the refused command was to make, else that of all containers.
#[must_use]
pub fn key_hint(error: &DockerError) -> String {
    let option = error.reason().split_once("--").map(|(_, rest)| {
        let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '-');
        &rest[..end.unwrap_or(rest.len())]
    });
    let Some(option) = option.filter(|option| !option.is_empty()) else {
        return String::new();
    };
    let other = OTHER_NAMES.iter().find(|(name, _)| *name == option);
    let common = other.map_or_else(|| option.replace('-', "_"), |(_, key)| (*key).to_owned());
    let is_made = |kind: &str| error.command.contains(&format!(" {LABEL}.type={kind} "));
    let kind = OF_CONTAINERS.iter().find(|(kind, _)| is_made(kind));
    let prefixes = kind.map_or(&[][..], |(_, prefixes)| prefixes);
    let own = prefixes.iter().map(|prefix| format!("{prefix}{common}"));
    let known = serde_json::to_value(DockerConfig::default()).unwrap_or_default();
    let key = own
        .chain([common.clone()])
        .find(|key| known.get(key).is_some());
    key.map_or_else(String::new, |key| {
        let flag = key.replace('_', "-");
        format!("; see the key {key} of [runners.docker] (--docker-{flag})")
    })
}

fn values(run: DockerCommand, values: &[Value]) -> DockerCommand {
    values
        .iter()
        .filter_map(|(option, value)| Some((option, value.as_ref()?)))
        .fold(run, |run, (option, value)| run.option(option, value))
}

fn lists(run: DockerCommand, lists: &[List]) -> DockerCommand {
    lists.iter().fold(run, |run, (option, list)| {
        list.iter()
            .flatten()
            .fold(run, |run, value| run.option(option, value))
    })
}

fn tables(run: DockerCommand, tables: &[Pairs]) -> DockerCommand {
    tables.iter().fold(run, |run, (option, table, between)| {
        table
            .iter()
            .flatten()
            .fold(run, |run, (key, value)| match value.as_str() {
                "" => run.option(option, key),
                value => run.option(option, format!("{key}{between}{value}")),
            })
    })
}

fn number(value: Option<i64>) -> Option<String> {
    value.map(|number| number.to_string())
}

pub(super) fn flag(run: DockerCommand, flag: &'static str, on: bool) -> DockerCommand {
    if on { run.flag(flag) } else { run }
}

/// What counts for all containers.
fn common(docker: &DockerConfig, run: DockerCommand) -> DockerCommand {
    let run = values(
        run,
        &[
            ("--userns", &docker.userns_mode),
            (
                "--pids-limit",
                &number(docker.pids_limit.filter(|most| *most != 0)),
            ),
        ],
    );
    lists(
        run,
        &[
            ("--dns", &docker.dns),
            ("--dns-search", &docker.dns_search),
            ("--add-host", &docker.extra_hosts),
        ],
    )
}

/// Where docker keeps what a container says, beside the job's log. An operator who says what belongs into it has a
/// program that reads it.
pub(super) fn log(docker: &DockerConfig, run: DockerCommand) -> Option<DockerCommand> {
    let options = docker.log_options.iter().flatten();
    let options: Vec<String> = options
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    (!options.is_empty()).then(|| {
        let run = run.option("--log-driver", "json-file");
        lists(run, &[("--log-opt", &Some(options))])
    })
}

/// The options of a job's own network.
pub(super) fn network(docker: &DockerConfig, create: DockerCommand) -> DockerCommand {
    let create = flag(create, "--ipv6", docker.enable_ipv6 == Some(true));
    match docker.network_mtu {
        None | Some(0) => create,
        Some(bytes) => create.option("--opt", format!("com.docker.network.driver.mtu={bytes}")),
    }
}

/// The options of a build container of this image.
pub(super) fn build(docker: &DockerConfig, image: &str, run: DockerCommand) -> DockerCommand {
    let run = common(docker, run);
    let privileged = docker.privileged == Some(true)
        && allows(docker.allowed_privileged_images.as_deref(), image);
    let run = flag(run, "--privileged", privileged);
    let run = flag(
        run,
        "--oom-kill-disable",
        docker.oom_kill_disable == Some(true),
    );
    let run = values(
        run,
        &[
            ("--hostname", &docker.hostname),
            ("--runtime", &docker.runtime),
            ("--cpuset-cpus", &docker.cpuset_cpus),
            ("--cpuset-mems", &docker.cpuset_mems),
            ("--cpus", &docker.cpus),
            ("--memory", &docker.memory),
            ("--memory-swap", &docker.memory_swap),
            ("--memory-reservation", &docker.memory_reservation),
            (
                "--cpu-shares",
                &number(docker.cpu_shares.filter(|shares| *shares != 0)),
            ),
            ("--gpus", &docker.gpus),
            ("--user", &docker.user),
            ("--oom-score-adj", &number(docker.oom_score_adjust)),
            ("--pid", &docker.pid_mode),
            ("--ipc", &docker.ipcmode),
            ("--mac-address", &docker.mac_address),
            ("--cgroup-parent", &docker.cgroup_parent),
            (
                "--shm-size",
                &number(docker.shm_size.filter(|size| *size != 0)),
            ),
        ],
    );
    let run = lists(
        run,
        &[
            ("--group-add", &docker.group_add),
            ("--device-cgroup-rule", &docker.device_cgroup_rules),
            ("--link", &docker.links),
            ("--cap-add", &docker.cap_add),
            ("--cap-drop", &docker.cap_drop),
            ("--security-opt", &docker.security_opt),
            ("--device", &docker.devices),
            ("--volumes-from", &docker.volumes_from),
        ],
    );
    tables(
        run,
        &[
            ("--tmpfs", &docker.tmpfs, ':'),
            ("--ulimit", &docker.ulimit, '='),
            ("--sysctl", &docker.sysctls, '='),
        ],
    )
}

/// What the helper may do as root, which no other container's root may not: it writes and removes files of every user.
const HELPER_CAPABILITIES: [&str; 4] = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID"];

/// How much memory the helper gets. git takes a gigabyte and more for the largest repositories; what a repository says
/// of itself takes no more than this.
const HELPER_MEMORY: &str = "4g";

/// The options of the helper container. It works on what a job's code may have written: what it does not need it does
/// not have.
pub(super) fn helper(docker: &DockerConfig, run: DockerCommand) -> DockerCommand {
    let run = values(common(docker, run), &[("--runtime", &docker.runtime)])
        .option(
            "--memory",
            docker.helper_memory.as_deref().unwrap_or(HELPER_MEMORY),
        )
        .option("--security-opt", "no-new-privileges")
        .option("--cap-drop", "ALL");
    HELPER_CAPABILITIES
        .iter()
        .fold(run, |run, capability| run.option("--cap-add", *capability))
}

/// The options of a service container of this image. What runs in it is chosen by the job, as what runs in the build is: the
/// build's restrictions count where services have none of their own. Its `user` does not, since many images of servers
/// begin as root.
pub(super) fn service(docker: &DockerConfig, image: &str, run: DockerCommand) -> DockerCommand {
    let privileged = docker.services_privileged.or(docker.privileged) == Some(true)
        && allows(docker.allowed_privileged_services.as_deref(), image);
    let run = log(docker, run.clone()).unwrap_or(run);
    let run = flag(common(docker, run), "--privileged", privileged);
    let own_memory = docker.service_memory.is_some();
    let (memory, swap) = match own_memory {
        true => (&docker.service_memory, &docker.service_memory_swap),
        false if docker.service_memory_swap.is_some() => {
            (&docker.memory, &docker.service_memory_swap)
        }
        false => (&docker.memory, &docker.memory_swap),
    };
    let run = values(
        run,
        &[
            ("--memory", memory),
            ("--memory-swap", swap),
            ("--memory-reservation", &docker.service_memory_reservation),
            ("--cpus", &docker.service_cpus),
            ("--cpuset-cpus", &docker.service_cpuset_cpus),
            (
                "--cpu-shares",
                &number(docker.service_cpu_shares.filter(|shares| *shares != 0)),
            ),
            ("--gpus", &docker.service_gpus),
            ("--cgroup-parent", &docker.service_cgroup_parent),
            (
                "--shm-size",
                &number(docker.shm_size.filter(|size| *size != 0)),
            ),
        ],
    );
    let of_image = docker.services_devices.iter().flatten();
    let devices = of_image.filter(|(pattern, _)| allows(Some(&[(*pattern).clone()]), image));
    let devices: Option<Vec<String>> =
        Some(devices.flat_map(|(_, devices)| devices.clone()).collect());
    let drops = docker.cap_drop.iter().flatten();
    let drops_all = drops
        .map(|name| name.to_uppercase())
        .any(|name| name == "ALL");
    let cap_add = if drops_all { &docker.cap_add } else { &None };
    let own = &docker.services_security_opt;
    let security_opt = if own.is_some() {
        own
    } else {
        &docker.security_opt
    };
    let run = lists(
        run,
        &[
            ("--cap-add", cap_add),
            ("--cap-drop", &docker.cap_drop),
            ("--security-opt", security_opt),
            ("--device", &devices),
        ],
    );
    tables(run, &[("--tmpfs", &docker.services_tmpfs, ':')])
}

#[cfg(test)]
mod tests {
    use super::{LABEL, OTHER_NAMES, build, helper, key_hint, service};
    use crate::config::DockerConfig;
    use crate::docker::{DockerCommand, DockerError};

    /// What a client says that refuses to make a container of this kind.
    fn refused(kind: &str, message: &str) -> DockerError {
        let label = format!("{LABEL}.type={kind}");
        let command = DockerCommand::run("name").option("--label", label);
        let command = command.operands("image", [""; 0]).to_string();
        DockerError::from_stderr(command, Some(125), message.as_bytes())
    }

    #[test]
    fn a_refused_option_is_a_key_of_its_container() {
        let known = serde_json::to_value(DockerConfig::default()).expect("JSON");
        for (_, key) in OTHER_NAMES {
            assert!(known.get(*key).is_some(), "{key}");
        }
        for (option, kind, key) in [
            ("-m, --memory", "build", "memory"),
            ("-m, --memory", "service", "service_memory"),
            ("-m, --memory", "helper", "helper_memory"),
            ("--device", "service", "services_devices"),
            ("--dns", "service", "dns"),
            ("--dns", "helper", "dns"),
            ("--cap-add", "build", "cap_add"),
            ("--pid", "build", "pid_mode"),
        ] {
            let said = format!("invalid argument \"x\" for \"{option}\" flag: bad");
            let hint = key_hint(&refused(kind, &said));
            assert!(
                hint.starts_with(&format!("; see the key {key} of ")),
                "{option} of a {kind}: {hint}"
            );
        }
        for text in [
            "",
            "Range of CPUs is from 0.01 to 2.00",
            "unknown flag: --rm-all",
            "a -- b",
        ] {
            assert_eq!(key_hint(&refused("build", text)), "", "{text}");
        }
    }

    #[test]
    fn what_restricts_the_build_restricts_services() {
        let list = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect());
        let text = |text: &str| Some(text.to_owned());
        let mut docker = DockerConfig {
            memory: text("64m"),
            memory_swap: text("96m"),
            cap_drop: list(&["all"]),
            cap_add: list(&["CHOWN"]),
            security_opt: list(&["no-new-privileges"]),
            pids_limit: Some(100),
            user: text("1000"),
            ..DockerConfig::default()
        };
        let run = || DockerCommand::run("name");
        let options = |docker: &DockerConfig| service(docker, "redis", run()).to_string();
        let restricted = [
            "--memory 64m",
            "--memory-swap 96m",
            "--cap-drop all",
            "--cap-add CHOWN",
            "--security-opt no-new-privileges",
            "--pids-limit 100",
        ];
        let of_build = build(&docker, "ruby", run()).to_string();
        for option in restricted {
            assert!(options(&docker).contains(option), "{option}");
            assert!(of_build.contains(option), "{option}");
        }
        assert!(
            helper(&docker, run())
                .to_string()
                .contains("--pids-limit 100")
        );
        assert!(!options(&docker).contains("--user"), "{}", options(&docker));
        docker.service_memory = text("32m");
        docker.services_security_opt = list(&["seccomp=unconfined"]);
        docker.cap_drop = list(&["MKNOD"]);
        let own = options(&docker);
        assert!(
            own.contains("--memory 32m") && own.contains("--cap-drop MKNOD"),
            "{own}"
        );
        for option in ["--memory-swap", "--cap-add", "no-new-privileges"] {
            assert!(!own.contains(option), "{option}: {own}");
        }
    }
}
