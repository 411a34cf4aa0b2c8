//! What each key of `[runners.docker]` makes of a container, as `docker inspect` shows it.

// Of a container's mounts, the volume with the executable aside, which is known by the length of its name.
const OURS_ASIDE_DESTINATION: &str =
    "{{range .Mounts}}{{if ne (len .Name) 30}}{{.Destination}} {{end}}{{end}}";
const OURS_ASIDE_RW: &str = "{{range .Mounts}}{{if ne (len .Name) 30}}{{.RW}} {{end}}{{end}}";
const OURS_ASIDE_TYPE: &str = "{{range .Mounts}}{{if ne (len .Name) 30}}{{.Type}} {{end}}{{end}}";
const OURS_ASIDE_DRIVER: &str =
    "{{range .Mounts}}{{if ne (len .Name) 30}}{{.Driver}} {{end}}{{end}}";

/// A key, its value in TOML, and what it makes of a container: part of its name, template, result.
pub type Row = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str, &'static str)],
);

/// Keys that go together in one job.
pub const ROWS: &[Row] = &[
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
        "cpuset_mems",
        r#""0""#,
        &[("build", "{{.HostConfig.CpusetMems}}", "0")],
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
        "log_options",
        r#"{ labels = "team" }"#,
        &[
            (
                "build",
                "{{json .HostConfig.LogConfig}}",
                r#"{"Type":"json-file","Config":{"labels":"team"}}"#,
            ),
            ("helper", "{{.HostConfig.LogConfig.Type}}", "none"),
            (
                "redis-0",
                "{{json .HostConfig.LogConfig}}",
                r#"{"Type":"json-file","Config":{"labels":"team"}}"#,
            ),
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
        "service_cgroup_parent",
        r#""/alloy-test-services""#,
        &[
            (
                "redis-0",
                "{{.HostConfig.CgroupParent}}",
                "/alloy-test-services",
            ),
            ("build", "{{.HostConfig.CgroupParent}}", "/alloy-test"),
        ],
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
pub const ELSEWHERE: &[&str] = &[
    // tests/configured.rs
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
    // tests/plans.rs: what an engine has or not
    "enable_ipv6",
    "network_mtu",
    "service_gpus",
    "volume_driver_ops",
    "volume_keep",
    // tests/registry.rs and tests/bad_input.rs
    "allowed_images",
    "allowed_services",
    "allowed_pull_policies",
    // tests/engines.rs
    "host",
    "tls_cert_path",
    "tls_verify",
    // tests/pool.rs
    "hosts",
    "jobs_per_host",
];
