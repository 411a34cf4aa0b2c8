//! `register`, `unregister`, `verify` and `list`, and TLS to the coordinator.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde_json::json;
use support::coordinator::{Coordinator, Fault, Kind, REGISTRATION_TOKEN, RUNNER_TOKEN};
use support::http::Response;
use support::tmux::Terminal;
use support::{BUSYBOX, Project, Ran, Running, run};

fn register(coordinator: &Coordinator, arguments: &[&str]) -> Command {
    let url = coordinator.url();
    let flags = ["register", "--non-interactive", "--url", &url];
    let mut command = coordinator.command([&flags, arguments].concat());
    command.env("REGISTRATION_TOKEN", REGISTRATION_TOKEN);
    command
}

#[test]
fn who_registers_can_serve_and_is_forgotten_again() {
    let coordinator = Coordinator::new(Kind::AlloyCi);
    let config = coordinator.beside("config.toml");
    fs::write(&config, "# mine\nconcurrent = 2 # two\n\n[[runners]]\nname = \"old\" # stays\nurl = \"https://x\"\ntoken = \"t\"\n").expect("written");
    let flags = [
        "--name",
        "docker-1",
        "--tag-list",
        "a, b ,c",
        "--docker-image",
        BUSYBOX,
        "--docker-pull-policy",
        "never",
    ];
    run(&mut register(&coordinator, &flags)).exits(0);
    let text = fs::read_to_string(&config).expect("there");
    assert!(
        text.starts_with("# mine\nconcurrent = 2 # two\n\n[[runners]]\nname = \"old\" # stays\n"),
        "{text}"
    );
    assert!(
        text.contains("token = \"registered-1-token\"\nexecutor = \"docker\"\n"),
        "{text}"
    );
    assert!(text.contains("volumes = [\"/cache\"]\n"), "{text}");
    assert_eq!(
        fs::metadata(&config).expect("there").permissions().mode() & 0o777,
        0o600
    );
    let said = &coordinator.registrations()[0];
    assert_eq!(said["description"], "docker-1");
    assert_eq!(said["tag_list"], "a,b,c");
    assert_eq!(said["run_untagged"], false);
    assert_eq!(said["info"]["features"]["shared"], false);

    let id = coordinator.queue_script(BUSYBOX, &["true"]);
    coordinator.run("run-single --runner docker-1").exits(0);
    coordinator.heard(id).succeeds();

    let list = coordinator.run("list");
    assert_eq!(
        list.stdout,
        format!(
            "old       t         docker  https://x\ndocker-1  register  docker  {}\n",
            coordinator.url()
        )
    );
    let alive = coordinator.run("verify --name docker-1");
    assert_eq!(
        (alive.status, alive.stdout.as_str()),
        (Some(0), "docker-1: is alive\n"),
        "{alive}"
    );

    coordinator.run("unregister --name docker-1").exits(0);
    assert!(!coordinator.knows_runner("registered-1-token"));
    let text = fs::read_to_string(&config).expect("there");
    assert!(
        text.contains("name = \"old\" # stays\n") && !text.contains("docker-1"),
        "{text}"
    );
}

#[test]
fn runners_of_other_executors_are_verified_and_unregistered_too() {
    let coordinator = Coordinator::without_engine(Kind::GitLab);
    coordinator.configure("", &["executor = \"shell\""]);
    coordinator.run("run-single --runner docker-0").fails(2);
    coordinator
        .run("exec --runner docker-0")
        .fails(2)
        .on_stderr("`shell`");
    coordinator.run("verify --name docker-0").exits(0);
    coordinator.run("unregister --name docker-0").exits(0);
    assert!(!coordinator.knows_runner(RUNNER_TOKEN));
}

#[test]
fn verify_takes_out_only_who_is_refused() {
    let coordinator = Coordinator::new(Kind::GitLab);
    coordinator.configure("", &["", "token = \"removed-over-there\""]);
    coordinator
        .run("verify")
        .fails(3)
        .says("docker-0: is alive\ndocker-1: is not known any more");
    coordinator.run("verify --delete").exits(0);
    coordinator.misbehave(|_| Some(Fault::Before(Response::status(500))));
    coordinator.run("verify --delete").fails(3);
    let text = fs::read_to_string(coordinator.beside("config.toml")).expect("there");
    assert!(
        text.contains(RUNNER_TOKEN) && !text.contains("removed-over-there"),
        "{text}"
    );
}

#[test]
fn what_is_wrong_is_said_and_nothing_is_written() {
    let coordinator = Coordinator::new(Kind::AlloyCi);
    let config = coordinator.beside("config.toml");
    run(register(&coordinator, &["--name", "x"]).env("REGISTRATION_TOKEN", "wrong"))
        .fails(3)
        .on_stderr("the token is refused");
    run(register(&coordinator, &["--name", "x"]).env_remove("REGISTRATION_TOKEN"))
        .fails(2)
        .on_stderr("REGISTRATION_TOKEN");
    run(&mut register(
        &coordinator,
        &["--name", "x", "--executor", "shell"],
    ))
    .fails(2);
    assert!(!config.exists());
    assert_eq!(coordinator.registrations().len(), 0);
    fs::write(
        &config,
        "runners = [{name = \"a\", url = \"https://x\", token = \"t\"}]\n",
    )
    .expect("written");
    let form = run(&mut register(&coordinator, &["--name", "x"]));
    form.fails(3);
    assert!(
        !coordinator.knows_runner("registered-1-token"),
        "it is not left behind there: {form}"
    );
}

#[test]
fn those_who_register_at_once_are_all_written_down() {
    let coordinator = Coordinator::new(Kind::AlloyCi);
    let children: Vec<_> = (0..6)
        .map(|number| {
            let name = format!("runner-{number}");
            let mut command = register(&coordinator, &["--name", &name]);
            Running::start(command.stdout(Stdio::null()))
        })
        .collect();
    for mut child in children {
        assert_eq!(child.wait().expect("ended").code(), Some(0));
    }
    assert_eq!(coordinator.run("list").stdout.lines().count(), 6);
}

#[test]
fn on_a_terminal_it_asks_with_defaults() {
    let coordinator = Coordinator::new(Kind::AlloyCi);
    let runner = format!(
        "{} --config {} register",
        support::RUNNER,
        coordinator.beside("config.toml").display()
    );
    // `script` of util-linux gives it a terminal.
    let mut asking = Command::new("script");
    asking
        .args(["-qec", &runner, "/dev/null"])
        .env_remove("REGISTRATION_TOKEN");
    let mut asking = Running::start(asking.stdin(Stdio::piped()).stdout(Stdio::piped()));
    let answers = format!("{}\n{REGISTRATION_TOKEN}\nmine\na,b\n\n", coordinator.url());
    let mut stdin = asking.stdin.take().expect("piped");
    // The terminal shows answers when they come: not in the middle of the first question.
    let stdout = asking.stdout.as_mut().expect("piped");
    support::read_until(stdout, "The coordinator's address: ");
    std::io::Write::write_all(&mut stdin, answers.as_bytes()).expect("written");
    let ran = Ran::from(asking.wait_with_output().expect("ended"));
    drop(stdin);
    ran.exits(0)
        .says("The image of jobs that name none [alpine:latest]: ");
    let text = fs::read_to_string(coordinator.beside("config.toml")).expect("there");
    assert!(
        text.contains("name = \"mine\"") && text.contains("image = \"alpine:latest\""),
        "{text}"
    );
}

#[test]
fn on_a_terminal_a_wrong_address_is_known_at_once_and_no_token_is_shown() {
    let coordinator = Coordinator::new(Kind::AlloyCi);
    coordinator.configure("", &[""]);
    let project = Project::new(json!({"test": {"image": BUSYBOX, "script": "true"}}));
    let config = coordinator.beside("config.toml").display().to_string();
    let line = format!("$RUNNER --config {config} register; stty -a | grep -o ' .\\?echo '");
    let terminal = Terminal::run(&project, &line);
    let answer = |question: &str, text: &str| {
        terminal.wait_until(question, |shown| shown.trim_end().ends_with(question));
        terminal.type_text(text);
        terminal.press("Enter");
    };
    let address = "The coordinator's address:";
    answer(address, "http://127.0.0.1:9");
    terminal.wait_for("POST http://127.0.0.1:9/api/v4/runners/verify: ");
    answer(address, "ftp://nowhere");
    answer(address, &coordinator.url());
    answer("The registration token:", REGISTRATION_TOKEN);
    terminal.wait_for("A name for the runner [");
    terminal.type_text("docker-0");
    terminal.press("Enter");
    terminal.wait_for("has a runner `docker-0` already; choose another name");
    terminal.type_text("other");
    terminal.press("Enter");
    answer("Its tags, separated by commas:", "");
    terminal.wait_for("The image of jobs that name none");
    terminal.press("Enter");
    let shown = terminal.wait_for("status=0");
    assert!(!shown.contains(REGISTRATION_TOKEN), "{shown}");
    assert!(
        shown.contains("\n echo \n"),
        "the terminal shows again what is typed: {shown}"
    );
    let next = format!(
        "The runner `other` is written to {config}.\n`alloy-runner --config {config} run` serves it"
    );
    assert!(shown.contains(&next), "{next}: {shown}");
    run(&mut register(&coordinator, &["--name", "other"]))
        .fails(2)
        .on_stderr("has a runner `other` already");
    assert_eq!(coordinator.registrations().len(), 1);
}

/// An authority, and certificates by it for a server at this address and for a client.
fn certificates(directory: &Path, address: &str) {
    let script = format!(
        "set -e; cd '{}'
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=authority \
          -keyout ca-key.pem -out ca.pem
        for side in client server; do
          printf 'subjectAltName=IP:{address}\\nextendedKeyUsage=%sAuth\\n' $side >extensions
          openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=$side -keyout $side-key.pem -out request.pem
          openssl x509 -req -days 2 -in request.pem -CA ca.pem -CAkey ca-key.pem -CAcreateserial -extfile extensions \
            -out $side.pem
        done",
        directory.display()
    );
    run(&mut support::shell("sh", &script)).exits(0);
}

/// A server's side that asks for certificates by the authority.
fn server_config(directory: &Path) -> ServerConfig {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let certificate =
        |name: &str| CertificateDer::from_pem_file(directory.join(name)).expect("PEM");
    let mut roots = RootCertStore::empty();
    roots.add(certificate("ca.pem")).expect("an authority");
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
    let key = PrivateKeyDer::from_pem_file(directory.join("server-key.pem")).expect("PEM");
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(verifier.build().expect("a verifier"))
        .with_single_cert(vec![certificate("server.pem")], key)
        .expect("a certificate")
}

#[test]
fn tls_knows_an_authority_of_ones_own_and_shows_a_certificate() {
    let directory = tempfile::tempdir().expect("a directory");
    certificates(directory.path(), &support::coordinator::gateway());
    let coordinator = Coordinator::with_tls(server_config(directory.path()));
    let file = |name: &str| directory.path().join(name).display().to_string();
    let (authority, certificate, key) =
        (file("ca.pem"), file("client.pem"), file("client-key.pem"));
    for (arguments, want) in [
        (&[][..], "UnknownIssuer"),
        // Whether it hears why depends on who is faster.
        (&["--tls-ca-file", &authority], "POST https://"),
        (&["--tls-cert-file", &certificate], "tls-key-file"),
        (&["--tls-ca-file", &key], "no certificate"),
    ] {
        let ran = coordinator.serve(arguments);
        assert!(matches!(ran.status, Some(2 | 3)), "{ran}");
        ran.on_stderr(want);
    }
    let all = [
        "--tls-ca-file",
        &authority,
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key,
    ];
    coordinator.serve(all).exits(0);
    // The system's own authorities count too.
    let system = [
        "--tls-cert-file",
        certificate.as_str(),
        "--tls-key-file",
        &key,
    ];
    run(coordinator.single(system).env("SSL_CERT_FILE", &authority)).exits(0);
    assert_eq!(coordinator.requests("POST /api/v4/jobs/request").len(), 2);
}

#[test]
fn exit_statuses_are_those_of_the_command_line() {
    let coordinator = Coordinator::new(Kind::AlloyCi);
    let status = |command: &mut Command| run(command).status;
    assert_eq!(
        status(&mut coordinator.single([])),
        Some(0),
        "there is nothing to do"
    );
    let failing = coordinator.queue_script(BUSYBOX, &["false"]);
    assert_eq!(
        status(&mut coordinator.single([])),
        Some(0),
        "it served, whatever became of the job"
    );
    coordinator.heard(failing).fails();
    assert_eq!(
        status(&mut coordinator.command("run-single")),
        Some(2),
        "which runner?"
    );
    assert_eq!(status(&mut coordinator.single("--no-such-flag")), Some(2));
    for command in [
        &["run"][..],
        &["list"],
        &["verify"],
        &["run-single", "--runner", "a"],
    ] {
        let ran = coordinator.run(command);
        let told = ["config.toml: ", "`alloy-runner register` writes one"];
        assert!(
            ran.status == Some(2) && told.iter().all(|part| ran.stderr.contains(part)),
            "no configuration: {ran}"
        );
    }
    fs::write(coordinator.beside("config.toml"), "concurrent = \"x\"\n").expect("written");
    coordinator
        .run("run")
        .fails(2)
        .on_stderr("config.toml:1:14: concurrent: ");
    fs::remove_file(coordinator.beside("config.toml")).expect("removed");
    let refused = run(coordinator.single([]).env("CI_SERVER_TOKEN", "nobody"));
    refused.fails(3).on_stderr("the token is refused");
    coordinator.misbehave(|_| Some(Fault::Before(Response::silence(std::time::Duration::ZERO))));
    assert_eq!(status(&mut coordinator.single([])), Some(3), "out of reach");
}
