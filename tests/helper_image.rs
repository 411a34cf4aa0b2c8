//! The helper image: its own executable in it, static; never a stale one; proxies and certificates reach it.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

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
