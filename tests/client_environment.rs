//! No variable of a job changes what the docker client on the host does, and all of them reach the job.

mod support;

use std::fs;
use std::path::Path;

use serde_json::json;
use support::coordinator::{Coordinator, Kind};
use support::{BUSYBOX, path_with, program, run};

/// What would lead a client, the loader, or a shell that is in front of it astray.
const LEADS: &[(&str, &str)] = &[
    ("DOCKER_HOST", "tcp://127.0.0.1:1"),
    ("DOCKER_CONTEXT", "nowhere"),
    ("DOCKER_CONFIG", "/nowhere"),
    ("DOCKER_TLS_VERIFY", "1"),
    ("DOCKER_CERT_PATH", "/nowhere"),
    ("DOCKER_API_VERSION", "1.12"),
    ("DOCKER_DEFAULT_PLATFORM", "linux/s390x"),
    ("DOCKER_CONTENT_TRUST", "1"),
    ("DOCKER_CUSTOM_HEADERS", "X=1"),
    // With a place where the job's own shell is.
    ("PATH", "/nowhere:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("HOME", "/nowhere"),
    ("HTTP_PROXY", "http://127.0.0.1:1"),
    ("http_proxy", "http://127.0.0.1:1"),
    ("HTTPS_PROXY", "http://127.0.0.1:1"),
    ("ALL_PROXY", "socks5://127.0.0.1:1"),
    ("NO_PROXY", "nowhere"),
    ("LD_PRELOAD", "/nowhere.so"),
    ("LD_LIBRARY_PATH", "/nowhere"),
    ("SSL_CERT_FILE", "/nowhere"),
    ("GODEBUG", "http2client=0"),
    ("XDG_RUNTIME_DIR", "/nowhere"),
    ("XDG_CONFIG_HOME", "/nowhere"),
    ("TMPDIR", "/nowhere"),
    ("BASH_ENV", "/nowhere.sh"),
    ("SHELLOPTS", "xtrace"),
    ("CONTAINER_HOST", "tcp://127.0.0.1:1"),
    ("SSH_AUTH_SOCK", "/nowhere"),
];

/// A `docker` that is a script, and notes what it was started with before the real one takes over.
fn noting_docker(directory: &Path) -> String {
    let real = run(std::process::Command::new("sh").args(["-c", "command -v docker"])).stdout;
    let bin = directory.join("bin");
    fs::create_dir(&bin).expect("created");
    let text = format!(
        "#!/bin/bash\n{{ printf '== %s ' \"${{@//$'\\n'/ }}\"; echo; tr '\\n\\0' '~\\n' </proc/$$/environ; }} >>{}\nexec {} \"$@\"\n",
        directory.join("noted").display(),
        real.trim()
    );
    program(&bin.join("docker"), &text);
    path_with(&bin)
}

#[test]
fn variables_reach_the_job_and_not_the_client() {
    let coordinator = Coordinator::new(Kind::GitLab);
    let path = noting_docker(&coordinator.beside("."));
    let noted = coordinator.beside("noted");
    for (public, end) in [
        (true, ""),
        (false, ""),
        (true, "\nmore\n"),
        (false, "\nmore\n"),
    ] {
        // Its length, since a secret would be masked. SHELLOPTS is the shell's own.
        let lengths: Vec<String> = LEADS
            .iter()
            .filter(|(name, _)| *name != "SHELLOPTS")
            .map(|(name, _)| format!("echo \"{name} is ${{#{name}}}\""))
            .collect();
        let lengths: Vec<&str> = lengths.iter().map(String::as_str).collect();
        let mut job = coordinator.job(BUSYBOX, &lengths);
        let variables = job["variables"].as_array_mut().expect("a list");
        // A path of several lines has its shell in the last part, in which a line break is no good.
        let value = |name: &str, value: &str| match name {
            "PATH" => format!("{}{value}", end.replace("more\n", "more:")),
            _ => format!("{value}{end}"),
        };
        variables.extend(LEADS.iter().map(
            |(name, text)| json!({"key": name, "value": value(name, text), "public": public}),
        ));
        let id = coordinator.queue(job);
        run(coordinator.single("--log-level trace").env("PATH", &path));
        let heard = coordinator.heard(id);
        heard.succeeds();
        for (name, text) in LEADS.iter().filter(|(name, _)| *name != "SHELLOPTS") {
            let line = format!("\n{name} is {}\n", value(name, text).len());
            assert!(
                heard.log.contains(&line),
                "{line} ({public} {end:?}): {}",
                heard.log
            );
        }
        let noted = fs::read_to_string(&noted).expect("noted");
        assert!(noted.contains("== run "), "{noted}");
        let own = |name: &str| match name {
            "PATH" => Some(path.clone()),
            name => std::env::var(name).ok(),
        };
        for line in noted.lines().filter(|line| !line.starts_with("== ")) {
            let (name, value) = line.split_once('=').unwrap_or((line, ""));
            if name == "TMPDIR" {
                assert!(value.contains("/state/files/"), "{value}");
            } else if LEADS.iter().any(|(lead, _)| *lead == name) {
                assert_eq!(
                    own(name).as_deref(),
                    Some(value),
                    "{name} ({public} {end:?})"
                );
            }
        }
    }
}
