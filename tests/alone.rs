//! While the helper works on a job's volumes, nothing runs that the job has chosen and that has them too: neither its
//! services nor the waiting shell of its image.

mod support;

use std::fs;
use std::process::{Command, Stdio};

use serde_json::json;
use support::{BUSYBOX, Project, REDIS, docker, fake_docker, path_with, program, run};

/// Writes settings into each repository that it finds, by which git runs a command as it checks out.
const PLANT: &str = r#"while :; do for g in /builds/*/*/.git; do [ -d "$g" ] || continue; mkdir -p "$g/info"
printf '[filter "x"]\n\tsmudge = touch /builds/owned; cat\n' >>"$g/config"; echo '* filter=x' >"$g/info/attributes"; done; done"#;

/// A checkout whose fetching takes a while.
fn project(job_file: &serde_json::Value) -> Project {
    let project = Project::empty();
    project.write(".alloy-ci.json", &job_file.to_string());
    for index in 0..2000 {
        project.write(&format!("files/{index}"), "text\n");
    }
    project.commit();
    project
}

#[test]
fn a_service_changes_nothing_while_the_sources_are_fetched() {
    for strategy in ["clone", "fetch"] {
        let project = project(
            &json!({"image": BUSYBOX, "variables": {"GIT_STRATEGY": strategy},
            "services": [{"name": BUSYBOX, "alias": "evil", "command": ["sh", "-c", PLANT]}],
            "test": {"script": ["ls files | wc -l; [ ! -e /builds/owned ]"]}}),
        );
        for _ in 0..2 {
            project.exec("test").succeeds().says("\n2000\n");
        }
    }
}

/// An image of this name, by a Dockerfile, for as long as this lives.
struct Image(&'static str);

impl Image {
    fn new(name: &'static str, dockerfile: &str) -> Self {
        let mut build = Command::new("docker")
            .args(["build", "--quiet", "--tag", name, "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("docker");
        let stdin = build.stdin.as_mut().expect("piped");
        std::io::Write::write_all(stdin, dockerfile.as_bytes()).expect("written");
        assert!(build.wait().expect("ended").success());
        Self(name)
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        docker(&["image", "rm", "--force", self.0]);
    }
}

#[test]
fn the_shell_of_an_image_does_not_run_before_its_script_is_there() {
    let shell = format!("#!/bin/busybox sh\n({PLANT}) &\nexec /bin/busybox sh \"$@\"\n");
    let lines: Vec<String> = shell
        .lines()
        .map(|line| format!("'{}'", line.replace('\'', r"'\''")))
        .collect();
    // Its shell in place of our executable, by a volume of its own that is mounted through a link.
    let over = "RUN for d in /alloy/hold /dev/alloy-runner/hold; do mkdir -p $d; cp /bin/sh $d/alloy-runner; done; \
                mkdir -p /x/y; ln -s /alloy/hold /x/y/a; ln -s /dev/alloy-runner/hold /x/y/b\n\
                VOLUME /x/y/a\nVOLUME /x/y/b\n";
    for (name, more) in [
        ("alloy-runner-test/evil-shell", ""),
        ("alloy-runner-test/evil-volume", over),
    ] {
        let image = Image::new(
            name,
            &format!(
                "FROM {BUSYBOX}\nHEALTHCHECK --interval=1ms CMD touch /builds/owned\n\
                 RUN printf '%s\\n' {} >/bin/sh.new; chmod 755 /bin/sh.new; mv /bin/sh.new /bin/sh\n{more}",
                lines.join(" "),
            ),
        );
        let project = project(&json!({"image": image.0,
            "test": {"script": ["ls files | wc -l; [ ! -e /builds/owned ]"]}}));
        for _ in 0..2 {
            project
                .exec("--docker-pull-policy never test")
                .succeeds()
                .says("\n2000\n");
        }
    }
}

/// Has whatever is mounted at `kept` in the project's directory mounted over the helper's programs.
const LEAD_ASTRAY: &str = "mv /builds/local /builds/before; mkdir -p /builds/local/site; ln -s /usr/local/bin /builds/local/site/kept";

#[test]
fn a_volume_in_the_builds_directory_is_mounted_where_it_is_said_to_be() {
    let git = r#"printf '#!/bin/sh\ntouch /builds/owned; exec /usr/bin/git "$@"\n' >kept/git; chmod 755 kept/git"#;
    let look = "ls -A /builds; cat kept/git >/dev/null; [ ! -L kept ] && [ ! -e /builds/owned ]";
    let serve = format!("[ -e /builds/local/site/.git ] || {{ {LEAD_ASTRAY}; }}; sleep 600");
    let services = json!([{"name": BUSYBOX, "alias": "evil", "command": ["sh", "-c", serve]}]);
    let fetch = json!({"GIT_STRATEGY": "fetch"});
    let project = Project::new(
        json!({"image": BUSYBOX,
            "plant": {"variables": fetch, "script": [git, LEAD_ASTRAY]},
            "look": {"variables": fetch, "script": [look]},
            "serve": {"services": services, "script": ["ls -A /builds; [ ! -e /builds/owned ]"]}})
        .to_string(),
    );
    let exec = |job| project.exec(["--docker-volumes", "/builds/local/site/kept", job]);
    exec("plant").succeeds();
    for job in ["look", "serve", "serve"] {
        exec(job).succeeds();
    }
}

#[test]
fn a_service_changes_nothing_while_caches_and_artifacts_are_archived() {
    // Each of the files is whole at any time.
    let count = "cd /builds/*/site; i=0; while :; do i=$((i+1)); for d in a b; do echo $i >$d/new; mv $d/new $d/beat; done; done";
    let project = project(&json!({"image": BUSYBOX, "stages": ["build", "test"],
        "make": {"stage": "build", "cache": {"key": "k", "paths": ["a/"]}, "artifacts": {"paths": ["b/"]},
            "services": [{"name": BUSYBOX, "alias": "busy", "command": ["sh", "-c",
                format!("while [ ! -e /builds/go ]; do sleep 0.01; done; {count}")]}],
            "script": ["mkdir a b; touch /builds/go; while [ ! -s b/beat ]; do sleep 0.01; done"]},
        "compare": {"stage": "test", "cache": {"key": "k", "paths": ["a/"]}, "dependencies": ["make"],
            "script": ["a=$(cat a/beat) b=$(cat b/beat); echo $a $b; [ $b -ge $((a - 1)) ] && [ $b -le $((a + 1)) ]"]}}));
    project.exec("--docker-volumes /cache").exits(0);
}

#[test]
fn where_the_engine_cannot_pause_services_start_after_the_sources() {
    let project = project(
        &json!({"image": BUSYBOX, "services": [{"name": REDIS, "alias": "redis"}],
        "test": {"script": ["echo PING | nc redis 6379 -w 1; echo made >made"], "artifacts": {"paths": ["made"]}}}),
    );
    let mut command = project.command("exec test");
    command.env("PATH", path_with(&fake_docker())).env(
        "DOCKER_FAKE",
        "pause=fail Error response from daemon: runtime does not support pausing",
    );
    run(&mut command).succeeds().says_in_order(&[
        "WARNING: the engine cannot pause the services",
        "Cloning repository...",
        "+PONG",
        "Uploading artifacts",
    ]);
}

#[test]
fn services_that_start_processes_faster_than_they_freeze_are_paused_again() {
    let project = project(
        &json!({"image": BUSYBOX, "services": [{"name": REDIS, "alias": "redis"}],
        "test": {"script": ["echo PING | nc redis 6379 -w 1"]}}),
    );
    let bin = project.beside("bin");
    fs::create_dir(&bin).expect("created");
    // The first time it is as if runc had given up.
    let text = format!(
        "#!/bin/sh\nPATH=${{PATH#*:}}\nif [ \"$1\" = pause ] && mkdir {}/frozen 2>/dev/null; then\n\
         echo 'Error response from daemon: Cannot pause container 0a1b: OCI runtime pause failed: unable to freeze: unknown' >&2\n\
         exit 1\nfi\nexec docker \"$@\"\n",
        bin.display()
    );
    program(&bin.join("docker"), &text);
    let mut command = project.command("exec test");
    command.env("PATH", path_with(&bin));
    let ran = run(&mut command);
    ran.succeeds().says("+PONG").says_nothing_of("cannot pause");
    assert!(bin.join("frozen").exists(), "{ran}");
}
