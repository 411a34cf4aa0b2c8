//! The helper image: its own executable in it, static; never a stale one; proxies and certificates reach it.

mod support;

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::json;
use support::{BUSYBOX, NONROOT, Project, RUNNER, Running, docker, fake_docker, path_with, run};

#[test]
fn the_executable_is_static_and_is_the_one_in_the_image() {
    let ldd = run(Command::new("ldd").arg(RUNNER));
    assert!(
        (ldd.stdout + &ldd.stderr).contains("statically linked"),
        "{RUNNER}"
    );
    let name = run(Command::new(RUNNER).args(["helper-image", "name"])).stdout;
    let inside = docker(&[
        "run",
        "--rm",
        name.trim(),
        "sha256sum",
        "/usr/local/bin/alloy-runner",
    ]);
    let here = run(Command::new("sha256sum").arg(RUNNER)).stdout;
    assert_eq!(inside[..64], here[..64]);
    for program in ["git", "git-lfs", "sh"] {
        docker(&[
            "run",
            "--rm",
            name.trim(),
            "sh",
            "-c",
            &format!("command -v {program}"),
        ]);
    }
    docker(&[
        "run",
        "--rm",
        name.trim(),
        "test",
        "-s",
        "/etc/ssl/certs/ca-certificates.crt",
    ]);
}

/// What a task of the helper's ends with in a container where `openat2` has this effect: its status and its output.
fn under_a_profile(
    place: &Path,
    openat2: &serde_json::Value,
    command: &str,
    task: &serde_json::Value,
    stdin: Stdio,
) -> Output {
    let mut call = openat2.clone();
    call["names"] = json!(["openat2"]);
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [call]});
    let file = place.join("profile.json");
    fs::write(&file, profile.to_string()).expect("written");
    let name = run(Command::new(RUNNER).args(["helper-image", "name"])).stdout;
    Command::new("docker")
        .args(["run", "--rm", "--interactive", "--security-opt"])
        .arg(format!("seccomp={}", file.display()))
        .args(["--env", &format!("ALLOY_RUNNER_TASK={task}")])
        .args(["--volume", &format!("{}:/volume", place.display())])
        .args([name.trim(), "alloy-runner", command])
        .stdin(stdin)
        .output()
        .expect("docker")
}

/// Kernels before 5.6 do not know `openat2`, and older container runtimes refuse what they do not know.
#[test]
fn where_a_container_refuses_openat2_links_are_not_followed_either() {
    let allowed = json!({"action": "SCMP_ACT_ALLOW"});
    let refused = |number: i32| json!({"action": "SCMP_ACT_ERRNO", "errnoRet": number});
    let (not_known, not_permitted) = (refused(38), refused(1));
    for call in [allowed, not_known, not_permitted] {
        let place = tempfile::tempdir().expect("a directory");
        let at = |path: &str| place.path().join(path);
        fs::create_dir_all(at("site/deep/er")).expect("made");
        fs::create_dir(at("outside")).expect("made");
        fs::write(at("site/deep/er/file"), "inside\n").expect("written");
        fs::write(at("outside/secret"), "what is private\n").expect("written");
        symlink("../outside", at("site/link")).expect("linked");
        let project = json!({"volume": "/volume", "path": "site"});
        let none = json!({"certificates": "", "proxies": []});
        let task = |more: serde_json::Value| {
            let mut task = none.clone();
            let all = task.as_object_mut().expect("an object");
            all.insert("project".to_owned(), project.clone());
            all.extend(more.as_object().expect("an object").clone());
            task
        };
        let upload = task(json!({"name": "a", "to": null,
            "files": {"paths": ["deep", "link/secret", "link/"], "untracked": false}}));
        let made = under_a_profile(
            place.path(),
            &call,
            "artifacts-uploader",
            &upload,
            Stdio::null(),
        );
        assert!(made.status.success(), "{call}: {made:?}");
        assert!(!made.stdout.is_empty(), "{call}: {made:?}");
        fs::write(at("a.zip"), &made.stdout).expect("written");
        let listed = run(Command::new("unzip").args(["-p"]).arg(at("a.zip"))).stdout;
        assert!(listed.contains("inside\n"), "{call}: {listed}");
        assert!(!listed.contains("private"), "{call}: {listed}");

        // What comes back meets a link in place of its directory.
        fs::remove_dir_all(at("site/deep")).expect("removed");
        symlink("../outside", at("site/deep")).expect("linked");
        let download = task(json!({"from": [], "attempts": 1, "limit": null}));
        let archive = || File::open(at("a.zip")).expect("there").into();
        let met = under_a_profile(
            place.path(),
            &call,
            "artifacts-downloader",
            &download,
            archive(),
        );
        assert!(!met.status.success(), "{call}: {met:?}");
        assert!(!at("outside/er").exists(), "{call}: {met:?}");
        fs::remove_file(at("site/deep")).expect("removed");
        let back = under_a_profile(
            place.path(),
            &call,
            "artifacts-downloader",
            &download,
            archive(),
        );
        assert!(back.status.success(), "{call}: {back:?}");
        let text = fs::read_to_string(at("site/deep/er/file")).expect("there");
        assert_eq!(text, "inside\n", "{call}");

        // The profile is one: the call is made, and met by it.
        let fatal = json!({"action": "SCMP_ACT_KILL_PROCESS"});
        let killed = under_a_profile(
            place.path(),
            &fatal,
            "artifacts-uploader",
            &upload,
            Stdio::null(),
        );
        assert_eq!(killed.status.code(), Some(128 + 31), "{killed:?}");
    }
}

#[test]
fn another_build_of_the_runner_has_another_image() {
    let directory = tempfile::tempdir().expect("a directory");
    let other = directory.path().join("alloy-runner");
    let mut bytes = fs::read(RUNNER).expect("readable");
    bytes.push(0);
    fs::write(&other, bytes).expect("written");
    fs::set_permissions(&other, fs::Permissions::from_mode(0o755)).expect("set");
    let name = |program: &str| run(Command::new(program).args(["helper-image", "name"])).stdout;
    assert_ne!(name(RUNNER), name(other.to_str().expect("UTF-8")));
}

#[test]
fn it_is_built_on_first_use_and_proxies_reach_the_build_and_git_but_no_argument_list() {
    let project = Project::script(["true"]);
    let proxy = "http://user:pass-word@proxy.invalid:3128";
    let mut command = project.command("-x exec test");
    command
        .env("HTTPS_PROXY", proxy)
        .env("no_proxy", "localhost");
    // As if this executable's image were not there.
    let absent = "image inspect alloy-runner-helper=fail Error: No such image: it";
    command
        .env("PATH", path_with(&fake_docker()))
        .env("DOCKER_FAKE", absent);
    run(&mut command)
        .fails(3)
        .says("\nBuilding helper image alloy-runner-helper:")
        .on_stderr("--build-arg HTTPS_PROXY --build-arg no_proxy")
        .not_on_stderr("pass-word");

    let mut command = project.command("-x exec test");
    run(command
        .env("HTTPS_PROXY", proxy)
        .env("no_proxy", "localhost"))
    .succeeds()
    .on_stderr("\"${HTTPS_PROXY}\"")
    .not_on_stderr("pass-word");
}

/// A repository behind HTTPS with a certificate that only `--tls-ca-file` makes known.
const SERVER: &str = r#"
import http.server, ssl, sys
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("cert.pem", "key.pem")
server = http.server.HTTPServer(("0.0.0.0", 0), http.server.SimpleHTTPRequestHandler)
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
"#;

#[test]
fn a_certificate_authority_of_ones_own_reaches_git() {
    let route = r"ip route | sed -n 's/^default via \([^ ]*\).*/\1/p'";
    let gateway = docker(&["run", "--rm", BUSYBOX, "sh", "-c", route]);
    let gateway = gateway.trim();
    let project =
        Project::new(json!({"image": NONROOT, "test": {"script": ["cat sub/inner.txt"]}}));
    let site = project.beside("served");
    fs::create_dir(&site).expect("created");
    run(Command::new("openssl").current_dir(&site).args([
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=test",
        "-addext",
        &format!("subjectAltName=IP:{gateway}"),
        "-keyout",
        "key.pem",
        "-out",
        "cert.pem",
    ]))
    .exits(0);

    let inner = project.beside("inner");
    fs::create_dir(&inner).expect("created");
    support::git(&inner, &["init", "-q"]);
    fs::write(inner.join("inner.txt"), "from afar\n").expect("written");
    support::git(&inner, &["add", "-A"]);
    support::git(&inner, &["commit", "-qm", "inner"]);
    support::git(
        &site,
        &[
            "clone",
            "-q",
            "--bare",
            inner.to_str().expect("UTF-8"),
            "inner.git",
        ],
    );
    support::git(&site.join("inner.git"), &["update-server-info"]);

    let mut server = Running::start(
        Command::new("python3")
            .args(["-c", SERVER])
            .current_dir(&site)
            .stdout(Stdio::piped())
            .stderr(Stdio::null()),
    );
    let port = support::read_until(server.stdout.as_mut().expect("piped"), "\n");
    // As if it had been added from there: what is committed is the address and the commit.
    project.git(&[
        "submodule",
        "--quiet",
        "add",
        inner.to_str().expect("UTF-8"),
        "sub",
    ]);
    let address = format!("https://{gateway}:{}/inner.git", port.trim());
    project.git(&[
        "config",
        "--file",
        ".gitmodules",
        "submodule.sub.url",
        &address,
    ]);
    project.commit();
    fs::remove_dir_all(project.directory.join(".git/modules")).expect("removed");

    let certificate = site.join("cert.pem");
    let arguments = ["--env", "GIT_SUBMODULE_STRATEGY=normal", "test"];
    let without = project.exec(arguments);
    let with = project.exec(
        [
            &["--tls-ca-file", certificate.to_str().expect("UTF-8")],
            &arguments[..],
        ]
        .concat(),
    );
    server.kill().expect("killed");
    server.wait().expect("ended");
    without.fails(3).says("certificate");
    with.succeeds().says("\nfrom afar\n");
}
