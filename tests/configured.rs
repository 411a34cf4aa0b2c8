//! What settings of the configuration do, each in a run of its own.

mod support;

use serde_json::json;
use support::configured::{Configured, end};
use support::{BUSYBOX, REDIS, docker};

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
    configured
        .exec([])
        .succeeds()
        .says("$ ls -A /kept vendor\n/kept:\n\nvendor:\n$ ");
    let second = configured.exec([]);
    let id = configured.project.id();
    second
        .succeeds()
        .says(format!("/kept:\n{id}\n\nvendor:\nlib\n"));
    let other = Configured::new(&job, docker_config);
    other.exec([]).succeeds().says("/kept:\n\nvendor:\n$ ");
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
        let ran = configured.exec(["--env", &format!("GIT_STRATEGY={strategy}")]);
        ran.succeeds();
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
    configured.exec(arguments).succeeds();
    let second = configured.exec(arguments);
    second
        .succeeds()
        .says("\nFetching changes...\nChecking out ");
    let before = second.stdout.split("\n$ ").next().expect("some");
    assert!(
        !["hooked", "monitored", "aliased"]
            .iter()
            .any(|word| before.contains(word)),
        "{second}"
    );
    second.ends("$ ls\nuntracked\nJob succeeded\n");
}

#[test]
fn caches_can_be_switched_off_or_kept_on_the_host() {
    let job = json!({"image": BUSYBOX, "cache": {"key": "k", "paths": ["deps"]},
        "script": ["ls /kept/file || echo nothing", "touch /kept/file || true", "mkdir deps; touch deps/file"]});
    let off = Configured::new(&job, "volumes = [\"/kept\"]\ndisable_cache = true");
    for _ in 0..2 {
        // It is there, for the job alone.
        off.exec([])
            .succeeds()
            .says("\nnothing\n$ touch /kept/file || true\n$ mkdir");
    }
    let host = tempfile::tempdir().expect("a directory");
    let on_host = Configured::new(
        &job,
        &format!(
            "volumes = [\"/kept\"]\ncache_dir = \"{}/caches/\"",
            host.path().display()
        ),
    );
    on_host.exec([]).succeeds();
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
    configured
        .exec([])
        .succeeds()
        .says("\n/work/local/0/local/site\n");
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
    let ran = configured.exec([]);
    docker(&["rm", "--force", "--volumes", &name]);
    ran.succeeds().says("\nstored\n");
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
        let ran = configured.exec([]);
        let out = &ran.succeeds().stdout;
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
        configured
            .exec([])
            .succeeds()
            .ends("\n+PONG\n+PONG\n+PONG\nJob succeeded\n")
            .says_nothing_of("WARNING");
        let script = configured.exec("--dry-run").stdout;
        support::run(&mut support::shell("sh", &script))
            .succeeds()
            .ends("\n+PONG\n+PONG\n+PONG\nJob succeeded\n");
    }
    docker(&["network", "rm", &network]);
    for mode in ["none", "container:x"] {
        let ran =
            Configured::new(&talks_to_redis(), &format!("network_mode = \"{mode}\"")).exec([]);
        ran.fails(2).on_stderr(format!(
            "docker.network_mode: with `{mode}` no service can be reached"
        ));
    }
    Configured::new(
        &json!({"image": BUSYBOX, "script": "ls /sys/class/net"}),
        "network_mode = \"none\"",
    )
    .exec([])
    .succeeds()
    .ends("\nlo\nJob succeeded\n");
}

#[test]
fn links_lead_to_containers_of_the_default_bridge() {
    let name = format!("alloy-test-linked-{}", std::process::id());
    docker(&["run", "--detach", "--name", &name, REDIS]);
    let mut job = talks_to_redis();
    job["script"] = json!([
        "for host in redis database; do exec 3<>/dev/tcp/$host/6379; echo PING >&3; head -n 1 <&3 | tr -d '\\r'; done"
    ]);
    let ran = Configured::new(&job, &format!("links = [\"{name}:database\"]")).exec([]);
    docker(&["rm", "--force", "--volumes", &name]);
    ran.succeeds().ends("\n+PONG\n+PONG\nJob succeeded\n");
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
    let mut command = configured.command([]);
    support::run(command.env("PATH", support::path_with(clients.path())))
        .succeeds()
        .says("\n92:d0:c6:0a:29:33\n");
}

#[test]
fn a_graphics_processor_that_is_not_there_is_a_system_failure_that_says_so() {
    Configured::new(
        &json!({"image": BUSYBOX, "script": "true"}),
        "gpus = \"all\"",
    )
    .exec([])
    .fails(3)
    .says("could not select device driver");
}

#[test]
fn a_job_may_not_replace_an_entrypoint_where_that_is_off() {
    let job = json!({"image": {"name": support::POSTGRES, "entrypoint": ["sh", "-c", "echo replaced"]}, "script": "echo kept"});
    Configured::new(&job, "").exec([]).says("\nreplaced\n");
    let ran = Configured::new(&job, "disable_entrypoint_overwrite = true").exec([]);
    ran.succeeds().says("\nkept\n");
    let warning = "is kept: docker.disable_entrypoint_overwrite is on";
    ran.says(warning);
}

#[test]
fn builds_run_as_allowed_users_only() {
    let job = json!({"image": BUSYBOX, "script": "id -un"});
    let allowed = "allowed_users = [\"nob*\"]\nuser = ";
    Configured::new(&job, &format!("{allowed}\"nobody\""))
        .exec([])
        .succeeds()
        .says("\nnobody\n");
    let ran = Configured::new(&job, &format!("{allowed}\"root\"")).exec([]);
    ran.fails(2);
    let error = "docker.user: `root` is not allowed; docker.allowed_users has: nob*\n";
    assert!(ran.stderr.ends_with(error), "{ran}");
}

#[test]
fn a_build_that_lacks_memory_says_so() {
    // An engine under load now and then never hears why a container ended that is gone already.
    let lacks = "head -c 200000000 /dev/zero | tail || { status=$?; sleep 1; exit $status; }";
    let job = json!({"image": BUSYBOX, "script": [lacks]});
    let ran = Configured::new(&job, "memory = \"32m\"\nmemory_swap = \"32m\"").exec([]);
    ran.fails(1);
    let end = "\nERROR: Build failed: exit code 137 (out of memory)\n";
    ran.ends(end);
    let killed = json!({"image": BUSYBOX, "script": ["sleep 100 & kill -9 $!; wait $!"]});
    let ran = Configured::new(&killed, "memory = \"32m\"").exec([]);
    let end = "\nERROR: Build failed: exit code 137\n";
    ran.ends(end);
}

#[test]
fn privileged_counts_for_allowed_images_only() {
    let job = json!({"image": BUSYBOX, "services": [REDIS], "script": "true"});
    let privileged = |docker: &str| {
        let configured = Configured::new(&job, docker);
        let script = configured.exec("--dry-run").stdout;
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
        "pre_get_sources_script = \"echo before sources\"\npost_get_sources_script = \"echo behind $PWD\"\npre_build_script = \"echo before build\"\n\
         post_build_script = \"echo after build\"\nenvironment = [\"FROM_RUNNER=it's set\"]\nshell = \"sh\"",
        "",
    );
    let ran = configured.exec([]);
    ran.succeeds()
        .says("\nbefore sources\nCloning repository...\n")
        .says("\nbehind /builds/local/site\n");
    let end = "$ echo before build\nbefore build\n$ echo job $FROM_RUNNER\njob it's set\n$ echo after build\nafter build\nJob succeeded\n";
    ran.ends(end);
}

#[test]
fn a_job_whose_sources_take_too_long_fails_and_says_which_limit_it_was() {
    let job = json!({"image": BUSYBOX, "script": "true"});
    let runner = "pre_get_sources_script = \"sleep 600\"\nget_sources_timeout = \"2s\"";
    Configured::with_runner(&job, runner, "")
        .exec([])
        .fails(1)
        .says("WARNING: get sources took longer than get_sources_timeout of this runner")
        .says("ERROR: Build failed: execution took longer than 2 s\n");
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
        Configured::with_runner(&job, &runner, "")
            .exec(["--docker-image", image])
            .succeeds()
            .says(said)
            .says_nothing_of("WARNING");
    }
}
