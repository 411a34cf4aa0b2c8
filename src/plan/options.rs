//! The settings of `[runners.docker]` that are options of docker by another name, and the containers that
//! they count for (configuration, the table of keys).

use super::allowed::allows;
use crate::config::{DockerConfig, Table};
use crate::docker::DockerCommand;

type Value<'a> = (&'static str, &'a Option<String>);
type List<'a> = (&'static str, &'a Option<Vec<String>>);
/// The option, the table, and what is between a key and its value.
type Pairs<'a> = (&'static str, &'a Option<Table>, char);

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

fn flag(run: DockerCommand, flag: &'static str, on: bool) -> DockerCommand {
    if on { run.flag(flag) } else { run }
}

/// What counts for all containers.
fn common(docker: &DockerConfig, run: DockerCommand) -> DockerCommand {
    let run = values(run, &[("--userns", &docker.userns_mode)]);
    lists(
        run,
        &[
            ("--dns", &docker.dns),
            ("--dns-search", &docker.dns_search),
            ("--add-host", &docker.extra_hosts),
        ],
    )
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
            ("--cpus", &docker.cpus),
            ("--memory", &docker.memory),
            ("--memory-swap", &docker.memory_swap),
            ("--memory-reservation", &docker.memory_reservation),
            ("--cpu-shares", &number(docker.cpu_shares)),
            ("--gpus", &docker.gpus),
            ("--user", &docker.user),
            ("--oom-score-adj", &number(docker.oom_score_adjust)),
            ("--pid", &docker.pid_mode),
            ("--ipc", &docker.ipcmode),
            ("--mac-address", &docker.mac_address),
            ("--cgroup-parent", &docker.cgroup_parent),
            ("--shm-size", &number(docker.shm_size)),
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

/// The options of the helper container.
pub(super) fn helper(docker: &DockerConfig, run: DockerCommand) -> DockerCommand {
    let run = values(common(docker, run), &[("--runtime", &docker.runtime)]);
    lists(run, &[("--volumes-from", &docker.volumes_from)])
}

/// The options of a service container of this image.
pub(super) fn service(docker: &DockerConfig, image: &str, run: DockerCommand) -> DockerCommand {
    let privileged = docker.services_privileged.or(docker.privileged) == Some(true)
        && allows(docker.allowed_privileged_services.as_deref(), image);
    let run = flag(common(docker, run), "--privileged", privileged);
    let run = values(
        run,
        &[
            ("--memory", &docker.service_memory),
            ("--memory-swap", &docker.service_memory_swap),
            ("--memory-reservation", &docker.service_memory_reservation),
            ("--cpus", &docker.service_cpus),
            ("--cpuset-cpus", &docker.service_cpuset_cpus),
            ("--cpu-shares", &number(docker.service_cpu_shares)),
            ("--shm-size", &number(docker.shm_size)),
        ],
    );
    let of_image = docker.services_devices.iter().flatten();
    let devices = of_image.filter(|(pattern, _)| allows(Some(&[(*pattern).clone()]), image));
    let devices: Option<Vec<String>> =
        Some(devices.flat_map(|(_, devices)| devices.clone()).collect());
    let run = lists(
        run,
        &[
            ("--security-opt", &docker.services_security_opt),
            ("--device", &devices),
        ],
    );
    tables(run, &[("--tmpfs", &docker.services_tmpfs, ':')])
}
