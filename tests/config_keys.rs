//! Every key of `[runners.docker]`, against `docker inspect` of the containers that a job really ran in.

mod support;

use std::collections::BTreeSet;
use std::io::Read;

use serde_json::json;
use support::{BUSYBOX, Project, REDIS, Running, docker, signal};

// Of a container's mounts, the volume with the executable aside, which is known by the length of its name.
const OURS_ASIDE_DESTINATION: &str =
    "{{range .Mounts}}{{if ne (len .Name) 30}}{{.Destination}} {{end}}{{end}}";
const OURS_ASIDE_RW: &str = "{{range .Mounts}}{{if ne (len .Name) 30}}{{.RW}} {{end}}{{end}}";
const OURS_ASIDE_TYPE: &str = "{{range .Mounts}}{{if ne (len .Name) 30}}{{.Type}} {{end}}{{end}}";
const OURS_ASIDE_DRIVER: &str =
    "{{range .Mounts}}{{if ne (len .Name) 30}}{{.Driver}} {{end}}{{end}}";

/// A key, its value in TOML, and what it makes of a container: part of its name, template, result.
type Row = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str, &'static str)],
);

/// Keys that go together in one job.
const ROWS: &[Row] = &[
    (
        "services",
        r#"[{ name = "alloy-runner-test/redis", alias = "", entrypoint = [], environment = ["DATA=/a b", "RAW=$CI_JOB_NAME"] }]"#,
        &[
            ("redis-0", "{{.State.Running}}", "true"),
            (
                "redis-0",
                "{{range .Config.Env}}{{if eq . \"DATA=/a b\" \"RAW=$CI_JOB_NAME\"}}there {{end}}{{end}}",
                "there there ",
            ),
            (
                "build",
                "{{range .Config.Env}}{{if eq . \"DATA=/a b\"}}there{{end}}{{end}}",
                "",
            ),
        ],
    ),
    (
        "pull_policy",
        r#"["never", "if-not-present"]"#,
        &[("build", "{{.State.Running}}", "true")],
    ),
    (
        "volumes",
        r#"["/cache:rw", "/alloy-test-read:ro", "$CI_PROJECT_DIR/relative/dir", "alloy-test-PROJECT:/named:ro", "HOST:/host dir:rw:z"]"#,
        &[
            (
                "build",
                OURS_ASIDE_DESTINATION,
                "/builds /cache /alloy-test-read /builds/local/site/relative/dir /named /host dir ",
            ),
            (
                "helper",
                OURS_ASIDE_DESTINATION,
                // What it works on, and no other.
                "/builds /cache /builds/local/site/relative/dir /alloy/source ",
            ),
            (
                "redis-0",
                OURS_ASIDE_DESTINATION,
                "/builds /cache /alloy-test-read /builds/local/site/relative/dir /named /host dir ",
            ),
            ("build", OURS_ASIDE_RW, "true true false true false true "),
            (
                "build",
                OURS_ASIDE_TYPE,
                "volume volume volume volume volume bind ",
            ),
        ],
    ),
    (
        "volume_driver",
        r#""local""#,
        &[(
            "build",
            OURS_ASIDE_DRIVER,
            "local local local local local  ",
        )],
    ),
    (
        "tmpfs",
        r#"{ "/in memory" = "rw,noexec" }"#,
        &[(
            "build",
            "{{json .HostConfig.Tmpfs}}",
            r#"{"/in memory":"rw,noexec"}"#,
        )],
    ),
    (
        "services_tmpfs",
        r#"{ "/data" = "" }"#,
        &[("redis-0", "{{json .HostConfig.Tmpfs}}", r#"{"/data":""}"#)],
    ),
    (
        "hostname",
        r#""builder""#,
        &[("build", "{{.Config.Hostname}}", "builder")],
    ),
    (
        "runtime",
        r#""runc""#,
        &[
            ("build", "{{.HostConfig.Runtime}}", "runc"),
            ("helper", "{{.HostConfig.Runtime}}", "runc"),
        ],
    ),
    (
        "cpuset_cpus",
        r#""0""#,
        &[("build", "{{.HostConfig.CpusetCpus}}", "0")],
    ),
    (
        "cpus",
        r#""0.5""#,
        &[("build", "{{.HostConfig.NanoCpus}}", "500000000")],
    ),
    (
        "memory",
        r#""64m""#,
        &[
            ("build", "{{.HostConfig.Memory}}", "67108864"),
            ("redis-0", "{{.HostConfig.Memory}}", "33554432"),
        ],
    ),
    (
        "memory_swap",
        r#""96m""#,
        &[("build", "{{.HostConfig.MemorySwap}}", "100663296")],
    ),
    (
        "memory_reservation",
        r#""32m""#,
        &[("build", "{{.HostConfig.MemoryReservation}}", "33554432")],
    ),
    (
        "helper_memory",
        r#""1g""#,
        &[("helper", "{{.HostConfig.Memory}}", "1073741824")],
    ),
    (
        "pids_limit",
        "200",
        &[
            ("build", "{{.HostConfig.PidsLimit}}", "200"),
            ("helper", "{{.HostConfig.PidsLimit}}", "200"),
            ("redis-0", "{{.HostConfig.PidsLimit}}", "200"),
        ],
    ),
    (
        "cpu_shares",
        "512",
        &[("build", "{{.HostConfig.CpuShares}}", "512")],
    ),
    (
        "user",
        r#""nobody""#,
        &[
            ("build", "{{.Config.User}}", "nobody"),
            ("helper", "{{.Config.User}}", ""),
        ],
    ),
    (
        "group_add",
        r#"["root"]"#,
        &[("build", "{{.HostConfig.GroupAdd}}", "[root]")],
    ),
    (
        "ulimit",
        r#"{ nofile = "512:1024" }"#,
        &[(
            "build",
            "{{range .HostConfig.Ulimits}}{{.Name}} {{.Soft}} {{.Hard}}{{end}}",
            "nofile 512 1024",
        )],
    ),
    (
        "oom_score_adjust",
        "500",
        &[("build", "{{.HostConfig.OomScoreAdj}}", "500")],
    ),
    (
        "pid_mode",
        r#""host""#,
        &[
            ("build", "{{.HostConfig.PidMode}}", "host"),
            ("helper", "{{.HostConfig.PidMode}}", ""),
        ],
    ),
    (
        "ipcmode",
        r#""private""#,
        &[("build", "{{.HostConfig.IpcMode}}", "private")],
    ),
    (
        "cgroup_parent",
        r#""/alloy-test""#,
        &[("build", "{{.HostConfig.CgroupParent}}", "/alloy-test")],
    ),
    (
        "device_cgroup_rules",
        r#"["c 42:* rmw"]"#,
        &[("build", "{{.HostConfig.DeviceCgroupRules}}", "[c 42:* rmw]")],
    ),
    (
        "dns",
        r#"["9.9.9.9"]"#,
        &[
            ("build", "{{.HostConfig.Dns}}", "[9.9.9.9]"),
            ("helper", "{{.HostConfig.Dns}}", "[9.9.9.9]"),
            ("redis-0", "{{.HostConfig.Dns}}", "[9.9.9.9]"),
        ],
    ),
    (
        "dns_search",
        r#"["example.org"]"#,
        &[
            ("build", "{{.HostConfig.DnsSearch}}", "[example.org]"),
            ("helper", "{{.HostConfig.DnsSearch}}", "[example.org]"),
            ("redis-0", "{{.HostConfig.DnsSearch}}", "[example.org]"),
        ],
    ),
    (
        "extra_hosts",
        r#"["mirror:10.0.0.5"]"#,
        &[
            ("build", "{{.HostConfig.ExtraHosts}}", "[mirror:10.0.0.5]"),
            ("helper", "{{.HostConfig.ExtraHosts}}", "[mirror:10.0.0.5]"),
            ("redis-0", "{{.HostConfig.ExtraHosts}}", "[mirror:10.0.0.5]"),
        ],
    ),
    (
        "cap_add",
        r#"["CAP_NET_ADMIN"]"#,
        &[
            ("build", "{{.HostConfig.CapAdd}}", "[CAP_NET_ADMIN]"),
            ("redis-0", "{{.HostConfig.CapAdd}}", "[]"),
        ],
    ),
    (
        "cap_drop",
        r#"["CAP_MKNOD"]"#,
        &[
            ("build", "{{.HostConfig.CapDrop}}", "[CAP_MKNOD]"),
            ("redis-0", "{{.HostConfig.CapDrop}}", "[CAP_MKNOD]"),
        ],
    ),
    (
        "security_opt",
        r#"["no-new-privileges"]"#,
        &[
            (
                "build",
                "{{.HostConfig.SecurityOpt}}",
                "[no-new-privileges label=disable]",
            ),
            (
                "redis-0",
                "{{.HostConfig.SecurityOpt}}",
                "[seccomp=unconfined]",
            ),
        ],
    ),
    (
        "devices",
        r#"["/dev/null:/dev/other"]"#,
        &[(
            "build",
            "{{range .HostConfig.Devices}}{{.PathInContainer}}{{end}}",
            "/dev/other",
        )],
    ),
    (
        "userns_mode",
        r#""host""#,
        &[
            ("build", "{{.HostConfig.UsernsMode}}", "host"),
            ("helper", "{{.HostConfig.UsernsMode}}", "host"),
            ("redis-0", "{{.HostConfig.UsernsMode}}", "host"),
        ],
    ),
    (
        "sysctls",
        r#"{ "net.core.somaxconn" = "1024" }"#,
        &[(
            "build",
            "{{json .HostConfig.Sysctls}}",
            r#"{"net.core.somaxconn":"1024"}"#,
        )],
    ),
    (
        "shm_size",
        "33554432",
        &[
            ("build", "{{.HostConfig.ShmSize}}", "33554432"),
            ("redis-0", "{{.HostConfig.ShmSize}}", "33554432"),
        ],
    ),
    (
        "container_labels",
        r#"{ team = "tools" }"#,
        &[
            ("build", "{{.Config.Labels.team}}", "tools"),
            ("helper", "{{.Config.Labels.team}}", "tools"),
            ("redis-0", "{{.Config.Labels.team}}", "tools"),
        ],
    ),
    (
        "services_limit",
        "1",
        &[("redis-0", "{{.State.Running}}", "true")],
    ),
    (
        "service_memory",
        r#""32m""#,
        &[("redis-0", "{{.HostConfig.Memory}}", "33554432")],
    ),
    (
        "service_memory_swap",
        r#""48m""#,
        &[("redis-0", "{{.HostConfig.MemorySwap}}", "50331648")],
    ),
    (
        "service_memory_reservation",
        r#""16m""#,
        &[("redis-0", "{{.HostConfig.MemoryReservation}}", "16777216")],
    ),
    (
        "service_cpus",
        r#""0.25""#,
        &[("redis-0", "{{.HostConfig.NanoCpus}}", "250000000")],
    ),
    (
        "service_cpuset_cpus",
        r#""0""#,
        &[("redis-0", "{{.HostConfig.CpusetCpus}}", "0")],
    ),
    (
        "service_cpu_shares",
        "256",
        &[("redis-0", "{{.HostConfig.CpuShares}}", "256")],
    ),
    (
        "services_security_opt",
        r#"["seccomp=unconfined"]"#,
        &[
            (
                "redis-0",
                "{{.HostConfig.SecurityOpt}}",
                "[seccomp=unconfined]",
            ),
            (
                "build",
                "{{.HostConfig.SecurityOpt}}",
                "[no-new-privileges label=disable]",
            ),
        ],
    ),
    (
        "services_devices",
        r#"{ "alloy-runner-test/redis:*" = ["/dev/null:/dev/other"], "other:*" = ["/dev/zero"] }"#,
        &[(
            "redis-0",
            "{{range .HostConfig.Devices}}{{.PathInContainer}} {{end}}",
            "/dev/other ",
        )],
    ),
    (
        "wait_for_services_timeout",
        "20",
        &[("build", "{{.State.Running}}", "true")],
    ),
    (
        "services_privileged",
        "false",
        &[("redis-0", "{{.HostConfig.Privileged}}", "false")],
    ),
    (
        "privileged",
        "false",
        &[("build", "{{.HostConfig.Privileged}}", "false")],
    ),
    (
        "oom_kill_disable",
        "true",
        &[("build", "{{.HostConfig.OomKillDisable}}", "true")],
    ),
];

/// Keys whose tests stand elsewhere, since they do not go with the others.
const ELSEWHERE: &[&str] = &[
    // Below.
    "image",
    "helper_image",
    "disable_cache",
    "cache_dir",
    "volumes_from",
    "network_mode",
    "links",
    "mac_address",
    "gpus",
    "disable_entrypoint_overwrite",
    "allowed_privileged_images",
    "allowed_privileged_services",
    "allowed_users",
    // tests/registry.rs and tests/bad_input.rs
    "allowed_images",
    "allowed_services",
    "allowed_pull_policies",
    // tests/engines.rs
    "host",
    "tls_cert_path",
    "tls_verify",
];

/// A project with a runner `r` in a configuration, whose job stops after it has said `begun`.
struct Configured {
    project: Project,
    file: String,
}

impl Configured {
    fn new(job: &serde_json::Value, docker: &str) -> Self {
        Self::with_runner(job, "", docker)
    }

    fn with_runner(job: &serde_json::Value, runner: &str, docker: &str) -> Self {
        let project = Project::new(&json!({"test": job}).to_string());
        let file = project.beside("config.toml");
        std::fs::write(
            &file,
            format!("[[runners]]\nname = \"r\"\n{runner}\n[runners.docker]\n{docker}\n"),
        )
        .expect("written");
        let file = file.display().to_string();
        Self { project, file }
    }

    fn arguments<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        [
            &["--config", &self.file, "exec", "--runner", "r"],
            more,
            &["test"],
        ]
        .concat()
    }

    fn exec(&self, more: &[&str]) -> support::Ran {
        self.project.run(&self.arguments(more))
    }

    fn begin(&self) -> Running {
        let mut child = self.project.spawn(&self.arguments(&[]));
        let mut said = Vec::new();
        let stdout = child.stdout.as_mut().expect("piped");
        let mut byte = [0];
        while !said.ends_with(b"\nbegun\n") {
            if stdout.read(&mut byte).expect("readable") == 0 {
                let mut errors = String::new();
                child
                    .stderr
                    .take()
                    .expect("piped")
                    .read_to_string(&mut errors)
                    .expect("readable");
                panic!("{}{errors}", String::from_utf8_lossy(&said));
            }
            said.push(byte[0]);
        }
        child
    }

    fn inspect(&self, part: &str, template: &str) -> String {
        let names = docker(&[
            "ps",
            "--all",
            "--format",
            "{{.Names}}",
            "--filter",
            &format!("name=-project-{}-", self.project.id()),
        ]);
        let name = names
            .lines()
            .find(|name| name.ends_with(part))
            .unwrap_or_else(|| panic!("{part} in {names}"));
        docker(&["inspect", "--format", template, name])
            .trim_end_matches('\n')
            .to_owned()
    }
}

fn end(mut child: Running) {
    signal(&child, "INT");
    assert_eq!(child.wait().expect("ended").code(), Some(130));
}

#[test]
fn every_key_has_its_row() {
    let config = serde_json::to_value(alloy_runner::config::DockerConfig::default()).expect("JSON");
    let known: BTreeSet<&str> = config
        .as_object()
        .expect("a struct")
        .keys()
        .map(String::as_str)
        .collect();
    let tested: BTreeSet<&str> = ROWS
        .iter()
        .map(|(key, ..)| *key)
        .chain(ELSEWHERE.iter().copied())
        .collect();
    assert_eq!(tested, known);
    assert_eq!(tested.len(), ROWS.len() + ELSEWHERE.len(), "one row each");
}

#[test]
fn keys_are_options_of_the_containers_they_count_for() {
    let job = json!({"image": BUSYBOX, "script": ["echo begun", "sleep 600"]});
    let configured = Configured::new(&job, "");
    let host = configured.project.beside("host");
    std::fs::create_dir(&host).expect("created");
    let named = format!("alloy-test-{}", configured.project.id());
    let text = ROWS.iter().fold(
        String::from("[[runners]]\nname = \"r\"\n[runners.docker]\n"),
        |text, (key, value, _)| {
            let value = value
                .replace("HOST", &host.display().to_string())
                .replace("alloy-test-PROJECT", &named);
            text + &format!("{key} = {value}\n")
        },
    );
    std::fs::write(&configured.file, text).expect("written");
    let child = configured.begin();
    let mut wrong = Vec::new();
    for (key, _, checks) in ROWS {
        for (part, template, want) in *checks {
            let got = configured.inspect(part, template);
            // Mounts come in no order of their own.
            let sorted = |text: &str| {
                let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect();
                words.sort();
                words
            };
            if sorted(&got) != sorted(want) {
                wrong.push(format!("{key} in {part}: {template} is {got}, not {want}"));
            }
        }
    }
    end(child);
    docker(&["volume", "rm", &named]);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn image_and_helper_image_are_defaults() {
    let helper =
        support::run(std::process::Command::new(support::RUNNER).args(["helper-image", "name"]))
            .stdout;
    let configured = Configured::new(
        &json!({"script": ["echo begun", "sleep 600"]}),
        &format!(
            "image = \"{BUSYBOX}\"\nhelper_image = \"{}\"",
            helper.trim()
        ),
    );
    let child = configured.begin();
    let id = |image: &str| {
        docker(&["image", "inspect", "--format", "{{.Id}}", image])
            .trim()
            .to_owned()
    };
    assert_eq!(configured.inspect("build", "{{.Image}}"), id(BUSYBOX));
    assert_eq!(
        configured.inspect("helper", "{{.Image}}"),
        id(helper.trim())
    );
    end(child);
}

#[test]
fn volumes_keep_their_content_for_the_project_and_sources_stay_when_fetched() {
    let script = [
        "ls -A /kept vendor",
        "echo x >/kept/$CI_PROJECT_ID",
        "touch vendor/lib untracked",
    ];
    let job = json!({"image": BUSYBOX, "script": script});
    let docker_config = "volumes = [\"/kept/\", \"$CI_PROJECT_DIR/vendor\"]";
    let configured = Configured::new(&job, docker_config);
    let first = configured.exec(&[]);
    assert!(
        first
            .assert_success()
            .stdout
            .contains("$ ls -A /kept vendor\n/kept:\n\nvendor:\n$ "),
        "{first}"
    );
    let second = configured.exec(&[]);
    let id = configured.project.id();
    assert!(
        second
            .assert_success()
            .stdout
            .contains(&format!("/kept:\n{id}\n\nvendor:\nlib\n")),
        "{second}"
    );
    let other = Configured::new(&job, docker_config);
    assert!(
        other
            .exec(&[])
            .assert_success()
            .stdout
            .contains("/kept:\n\nvendor:\n$ ")
    );
    let names = docker(&[
        "volume",
        "ls",
        "--quiet",
        "--filter",
        &format!("name=-project-{id}-"),
    ]);
    let md5 = support::run(support::shell("sh", "printf /kept | md5sum").current_dir("/")).stdout;
    let name = format!(
        "runner-local-project-{id}-concurrent-0-cache-{}",
        &md5[..32]
    );
    assert!(names.lines().any(|line| line == name), "{name} in {names}");

    for (strategy, line, untracked) in [
        ("fetch", "Cloning repository...", false),
        ("fetch", "Fetching changes...", false),
    ] {
        let ran = configured.exec(&["--env", &format!("GIT_STRATEGY={strategy}")]);
        ran.assert_success();
        assert!(
            ran.stdout.contains(line) && ran.stdout.contains("vendor:\nlib\n") != untracked,
            "{ran}"
        );
    }
}

#[test]
fn what_an_earlier_job_left_in_fetched_sources_leads_nobody() {
    let plant = [
        "mkdir -p .git/hooks && printf '#!/bin/sh\\necho hooked\\n' >.git/hooks/post-checkout && chmod +x .git/hooks/post-checkout",
        "printf '[core]\\n\\tfsmonitor = \"echo monitored >&2\"\\n\\thooksPath = .git/hooks\\n[alias]\\n\\tfetch = !echo aliased\\n' >>.git/config",
        "rm -rf .git/info && ln -s /etc .git/info",
        "touch .git/index.lock untracked",
        "ls",
    ];
    let configured = Configured::new(&json!({"image": BUSYBOX, "script": plant}), "");
    let arguments = ["--env", "GIT_STRATEGY=fetch"];
    configured.exec(&arguments).assert_success();
    let second = configured.exec(&arguments);
    second.assert_success();
    assert!(
        second
            .stdout
            .contains("\nFetching changes...\nChecking out "),
        "{second}"
    );
    let before = second.stdout.split("\n$ ").next().expect("some");
    assert!(
        !["hooked", "monitored", "aliased"]
            .iter()
            .any(|word| before.contains(word)),
        "{second}"
    );
    assert!(
        second.stdout.ends_with("$ ls\nuntracked\nJob succeeded\n"),
        "{second}"
    );
}

#[test]
fn caches_can_be_switched_off_or_kept_on_the_host() {
    let job = json!({"image": BUSYBOX, "cache": {"key": "k", "paths": ["deps"]},
        "script": ["ls -d /kept || echo nothing", "touch /kept/file || true", "mkdir deps; touch deps/file"]});
    let off = Configured::new(&job, "volumes = [\"/kept\"]\ndisable_cache = true");
    assert!(
        off.exec(&[])
            .assert_success()
            .stdout
            .contains("\nnothing\n")
    );
    let host = tempfile::tempdir().expect("a directory");
    let on_host = Configured::new(
        &job,
        &format!(
            "volumes = [\"/kept\"]\ncache_dir = \"{}/caches/\"",
            host.path().display()
        ),
    );
    on_host.exec(&[]).assert_success();
    let mut directories: Vec<_> = std::fs::read_dir(host.path().join("caches"))
        .expect("made")
        .map(|entry| entry.expect("readable").path())
        .collect();
    directories.sort();
    assert_eq!(directories.len(), 2);
    let archive = directories[0].join("k/cache.tar.zst");
    assert!(archive.exists(), "{directories:?}");
    assert!(directories[1].join("file").exists(), "{directories:?}");
}

#[test]
fn builds_bound_to_the_host_have_their_layout() {
    let host = tempfile::tempdir().expect("a directory");
    let configured = Configured::with_runner(
        &json!({"image": BUSYBOX, "script": ["pwd", "ls"]}),
        "builds_dir = \"/work\"",
        &format!(
            "volumes = [\"{}:/work\", \"/cache\"]",
            host.path().display()
        ),
    );
    let ran = configured.exec(&[]);
    assert!(
        ran.assert_success()
            .stdout
            .contains("\n/work/local/0/local/site\n"),
        "{ran}"
    );
    assert!(
        host.path()
            .join("local/0/local/site/.alloy-ci.json")
            .exists()
    );
}

#[test]
fn volumes_of_another_container_are_seen() {
    let name = format!("alloy-test-storage-{}", std::process::id());
    docker(&[
        "run",
        "--name",
        &name,
        "--volume",
        "/storage",
        BUSYBOX,
        "sh",
        "-c",
        "echo stored >/storage/file",
    ]);
    let configured = Configured::new(
        &json!({"image": BUSYBOX, "script": ["cat /storage/file"]}),
        &format!("volumes_from = [\"{name}:ro\"]"),
    );
    let ran = configured.exec(&[]);
    docker(&["rm", "--force", "--volumes", &name]);
    assert!(ran.assert_success().stdout.contains("\nstored\n"), "{ran}");
}

#[test]
fn the_helper_has_no_volume_and_no_right_that_it_does_not_need() {
    let host = tempfile::TempDir::with_prefix("alloy-test-").expect("a directory");
    std::fs::write(host.path().join("secret"), "of the operator\n").expect("written");
    let settings = format!(
        "volumes = [\"{}:/host:ro\", \"/root\", \"/cache\"]",
        host.path().display()
    );
    let configured = Configured::with_runner(
        &json!({"image": BUSYBOX, "script": ["cat /host/secret", "[ -w /root ] && [ ! -e /root/of-the-helper ] && echo writable"]}),
        "pre_clone_script = \"ls -d /host 2>&1 || :; touch /root/of-the-helper; grep -E 'NoNewPrivs|CapBnd' /proc/self/status\"",
        &settings,
    );
    for _ in 0..2 {
        let ran = configured.exec(&[]);
        let out = &ran.assert_success().stdout;
        for line in [
            "'/host': No such file or directory",
            // CHOWN, DAC_OVERRIDE, FOWNER, FSETID
            "CapBnd:\t000000000000001b",
            "NoNewPrivs:\t1",
            "of the operator",
            "writable",
        ] {
            assert!(out.contains(line), "{line}: {ran}");
        }
    }
}

/// A job that talks to Redis under the names that it has in every kind of network.
fn talks_to_redis() -> serde_json::Value {
    json!({"image": support::DEBIAN, "services": [{"name": REDIS, "alias": "redis"}], "script": [
        "for host in redis alloy-runner-test-redis alloy-runner-test__redis; do exec 3<>/dev/tcp/$host/6379; echo PING >&3; head -n 1 <&3 | tr -d '\\r'; done"]})
}

#[test]
fn services_are_reached_in_networks_of_every_kind() {
    let network = format!("alloy-test-{}", std::process::id());
    docker(&["network", "create", &network]);
    for mode in [network.as_str(), "bridge", "host"] {
        let configured = Configured::new(&talks_to_redis(), &format!("network_mode = \"{mode}\""));
        let ran = configured.exec(&[]);
        assert!(
            ran.assert_success()
                .stdout
                .ends_with("\n+PONG\n+PONG\n+PONG\nJob succeeded\n"),
            "{mode}: {ran}"
        );
        assert!(!ran.stdout.contains("WARNING"), "{mode}: {ran}");
        let script = configured.exec(&["--dry-run"]).stdout;
        let printed = support::run(&mut support::shell("sh", &script));
        assert!(
            printed
                .assert_success()
                .stdout
                .ends_with("\n+PONG\n+PONG\n+PONG\nJob succeeded\n"),
            "{mode}: {printed}"
        );
    }
    docker(&["network", "rm", &network]);
    for mode in ["none", "container:x"] {
        let ran =
            Configured::new(&talks_to_redis(), &format!("network_mode = \"{mode}\"")).exec(&[]);
        assert_eq!(ran.status, Some(2), "{ran}");
        assert!(
            ran.stderr.contains(&format!(
                "docker.network_mode: with `{mode}` no service can be reached"
            )),
            "{ran}"
        );
    }
    let none = Configured::new(
        &json!({"image": BUSYBOX, "script": "ls /sys/class/net"}),
        "network_mode = \"none\"",
    )
    .exec(&[]);
    assert!(
        none.assert_success()
            .stdout
            .ends_with("\nlo\nJob succeeded\n"),
        "{none}"
    );
}

#[test]
fn links_lead_to_containers_of_the_default_bridge() {
    let name = format!("alloy-test-linked-{}", std::process::id());
    docker(&["run", "--detach", "--name", &name, REDIS]);
    let mut job = talks_to_redis();
    job["script"] = json!([
        "for host in redis database; do exec 3<>/dev/tcp/$host/6379; echo PING >&3; head -n 1 <&3 | tr -d '\\r'; done"
    ]);
    let ran = Configured::new(&job, &format!("links = [\"{name}:database\"]")).exec(&[]);
    docker(&["rm", "--force", "--volumes", &name]);
    assert!(
        ran.assert_success()
            .stdout
            .ends_with("\n+PONG\n+PONG\nJob succeeded\n"),
        "{ran}"
    );
}

#[test]
fn the_build_has_its_mac_address() {
    // Newer clients want a newer engine for it; Debian's own goes with Debian's engine.
    let debian = std::path::Path::new("/usr/bin/docker");
    assert!(
        debian.exists(),
        "scripts/engine installs docker.io, with its client"
    );
    let clients = tempfile::tempdir().expect("a directory");
    std::os::unix::fs::symlink(debian, clients.path().join("docker")).expect("linked");
    let job = json!({"image": BUSYBOX, "script": "cat /sys/class/net/eth0/address"});
    let configured = Configured::new(&job, "mac_address = \"92:d0:c6:0a:29:33\"");
    let mut command = configured.project.command(&configured.arguments(&[]));
    let ran = support::run(command.env("PATH", support::path_with(clients.path())));
    assert!(
        ran.assert_success()
            .stdout
            .contains("\n92:d0:c6:0a:29:33\n"),
        "{ran}"
    );
}

#[test]
fn a_graphics_processor_that_is_not_there_is_a_system_failure_that_says_so() {
    let ran = Configured::new(
        &json!({"image": BUSYBOX, "script": "true"}),
        "gpus = \"all\"",
    )
    .exec(&[]);
    assert_eq!(ran.status, Some(3), "{ran}");
    assert!(
        ran.stdout.contains("could not select device driver"),
        "{ran}"
    );
}

#[test]
fn a_job_may_not_replace_an_entrypoint_where_that_is_off() {
    let job = json!({"image": {"name": support::POSTGRES, "entrypoint": ["sh", "-c", "echo replaced"]}, "script": "echo kept"});
    assert!(
        Configured::new(&job, "")
            .exec(&[])
            .stdout
            .contains("\nreplaced\n")
    );
    let ran = Configured::new(&job, "disable_entrypoint_overwrite = true").exec(&[]);
    assert!(ran.assert_success().stdout.contains("\nkept\n"), "{ran}");
    let warning = "is kept: docker.disable_entrypoint_overwrite is on";
    assert!(ran.stdout.contains(warning), "{ran}");
}

#[test]
fn builds_run_as_allowed_users_only() {
    let job = json!({"image": BUSYBOX, "script": "id -un"});
    let allowed = "allowed_users = [\"nob*\"]\nuser = ";
    let ran = Configured::new(&job, &format!("{allowed}\"nobody\"")).exec(&[]);
    assert!(ran.assert_success().stdout.contains("\nnobody\n"), "{ran}");
    let ran = Configured::new(&job, &format!("{allowed}\"root\"")).exec(&[]);
    assert_eq!(ran.status, Some(2), "{ran}");
    let error = "docker.user: `root` is not allowed; docker.allowed_users has: nob*\n";
    assert!(ran.stderr.ends_with(error), "{ran}");
}

#[test]
fn a_build_that_lacks_memory_says_so() {
    // An engine under load now and then never hears why a container ended that is gone already.
    let lacks = "head -c 200000000 /dev/zero | tail || { status=$?; sleep 1; exit $status; }";
    let job = json!({"image": BUSYBOX, "script": [lacks]});
    let ran = Configured::new(&job, "memory = \"32m\"\nmemory_swap = \"32m\"").exec(&[]);
    assert_eq!(ran.status, Some(1), "{ran}");
    let end = "\nERROR: Build failed: exit code 137 (out of memory)\n";
    assert!(ran.stdout.ends_with(end), "{ran}");
    let killed = json!({"image": BUSYBOX, "script": ["sleep 100 & kill -9 $!; wait $!"]});
    let ran = Configured::new(&killed, "memory = \"32m\"").exec(&[]);
    let end = "\nERROR: Build failed: exit code 137\n";
    assert!(ran.stdout.ends_with(end), "{ran}");
}

#[test]
fn privileged_counts_for_allowed_images_only() {
    let job = json!({"image": BUSYBOX, "services": [REDIS], "script": "true"});
    let privileged = |docker: &str| {
        let configured = Configured::new(&job, docker);
        let script = configured.exec(&["--dry-run"]).stdout;
        let has = |part: &str| {
            script.lines().any(|line| {
                line.contains(&format!("\"-{part}"))
                    && line.contains("--privileged")
                    && line.contains("docker run")
            })
        };
        (has("build --"), has("alloy-runner-test__redis"))
    };
    assert_eq!(privileged("privileged = true"), (true, true));
    assert_eq!(
        privileged("privileged = true\nallowed_privileged_images = [\"docker:*\"]"),
        (false, true)
    );
    assert_eq!(
        privileged(
            "privileged = true\nallowed_privileged_services = [\"docker:*\", \"other/*:*\"]"
        ),
        (true, false)
    );
    assert_eq!(
        privileged("privileged = true\nservices_privileged = false"),
        (true, false)
    );
    assert_eq!(privileged("services_privileged = true"), (false, true));
}

#[test]
fn the_operators_scripts_run_around_the_jobs() {
    let configured = Configured::with_runner(
        &json!({"image": BUSYBOX, "script": ["echo job $FROM_RUNNER"]}),
        "pre_get_sources_script = \"echo before sources\"\npre_build_script = \"echo before build\"\n\
         post_build_script = \"echo after build\"\nenvironment = [\"FROM_RUNNER=it's set\"]\nshell = \"sh\"",
        "",
    );
    let ran = configured.exec(&[]);
    ran.assert_success();
    assert!(
        ran.stdout
            .contains("\nbefore sources\nCloning repository...\n"),
        "{ran}"
    );
    let end = "$ echo before build\nbefore build\n$ echo job $FROM_RUNNER\njob it's set\n$ echo after build\nafter build\nJob succeeded\n";
    assert!(ran.stdout.ends_with(end), "{ran}");
}

#[test]
fn bash_is_taken_where_the_image_has_it_else_sh() {
    let job = json!({"script": "echo \"bash ${BASH_VERSION:+yes}\""});
    for (shell, image, said) in [
        ("bash", support::DEBIAN, "\nbash yes\n"),
        ("bash", BUSYBOX, "\nbash \n"),
        ("sh", support::DEBIAN, "\nbash \n"),
        ("", support::DEBIAN, "\nbash yes\n"),
    ] {
        let runner = format!("shell = \"{shell}\"");
        let ran = Configured::with_runner(&job, &runner, "").exec(&["--docker-image", image]);
        ran.assert_success();
        assert!(ran.stdout.contains(said), "{shell}: {ran}");
        assert!(!ran.stdout.contains("WARNING"), "{shell}: {ran}");
    }
}
