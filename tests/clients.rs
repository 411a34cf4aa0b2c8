//! Every docker client on this machine serves: Debian's 20.10 as well as the current one.

mod support;

use std::collections::BTreeMap;
use std::io;
use std::net::{Shutdown, TcpListener};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use serde_json::json;
use support::{BUSYBOX, Project, REDIS, Ran, Running, path_with, read_until, run, shell};

/// The clients of this machine by their version: those on `PATH`, and where packages put them.
fn clients() -> BTreeMap<String, PathBuf> {
    let path = std::env::var("PATH").expect("a PATH") + ":/usr/bin:/usr/local/bin";
    let files = path.split(':').map(|place| Path::new(place).join("docker"));
    files
        .filter(|file| file.is_file())
        .map(|file| {
            let version = run(Command::new(&file).args(["--version"])).stdout;
            let version = version.trim_start_matches("Docker version ");
            (version.trim().to_owned(), file)
        })
        .collect()
}

/// The engine's socket behind a port of the loopback, as an engine that shares no files is reached.
fn relay() -> String {
    let host = std::env::var("DOCKER_HOST").unwrap_or("unix:///var/run/docker.sock".to_owned());
    let Some(socket) = host.strip_prefix("unix://").map(str::to_owned) else {
        return host;
    };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let host = format!("tcp://{}", listener.local_addr().expect("bound"));
    thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.expect("accepted");
            let engine = UnixStream::connect(&socket).expect("an engine");
            let (mut from, mut to) = (client.try_clone().expect("cloned"), engine);
            let (mut back_from, mut back_to) = (to.try_clone().expect("cloned"), client);
            // What either side cuts off is the job's to notice, by the client it uses.
            thread::spawn(move || {
                drop(io::copy(&mut from, &mut to));
                drop(to.shutdown(Shutdown::Write));
            });
            thread::spawn(move || {
                drop(io::copy(&mut back_from, &mut back_to));
                drop(back_to.shutdown(Shutdown::Write));
            });
        }
    });
    host
}

/// The log from its first line to its last, without what is another one in every run.
fn comparable(ran: &Ran) -> String {
    ran.succeeds().says_nothing_of("WARNING");
    let lines = ran.stdout.lines();
    let lines = lines.filter(|line| {
        ![
            "Running on ",
            "Checking out ",
            "Running with ",
            "Using docker image ",
        ]
        .iter()
        .any(|begin| line.starts_with(begin))
    });
    lines.fold(String::new(), |text, line| text + line + "\n")
}

/// All that goes through the client; the log of it, which has to be the same whichever it is.
fn serve(client: &Path, remote: &str) -> Vec<String> {
    let project = Project::new(
        json!({"image": BUSYBOX, "services": [{"name": REDIS, "alias": "redis"}],
            "test": {"script": ["ls -A", "printf 'PING\\r\\nQUIT\\r\\n' | nc redis 6379", "echo ${#TOKEN} ${#DOCKER_TOKEN}", "sleep $PAUSE; echo slept"],
                     "after_script": ["echo after $CI_JOB_STATUS"]},
            "fails": {"script": ["exit 7"]}}),
    );
    let bin = project.beside("bin");
    std::fs::create_dir(&bin).expect("created");
    symlink(client, bin.join("docker")).expect("linked");
    let prepare = |mut command: Command| {
        command
            .env("PATH", path_with(&bin))
            .envs([("TOKEN", "hunter2-hunter2"), ("DOCKER_TOKEN", "two")])
            .env("PAUSE", "0");
        command
    };
    let exec = |arguments: &[&str]| {
        let secrets = ["--env", "TOKEN", "--env", "DOCKER_TOKEN"];
        let command = project.command([arguments, &secrets].concat());
        run(&mut prepare(command))
    };
    let plain = ["exec", "--env", "PAUSE=0", "test"];

    let printed = exec(&[&["-x"], &plain[..]].concat());
    printed.on_stderr("\ndocker run ");
    let script = exec(&[&plain[..], &["--dry-run"]].concat());
    script.exits(0);
    let script = run(&mut prepare(shell("sh", &script.stdout)));
    let copied = exec(&[&["-x"], &plain[..], &["--docker-host", remote]].concat());
    copied.on_stderr(" cp -- ");
    let fails = exec(&["exec", "fails"]);
    fails.fails(1);

    let sleeps = [
        "exec",
        "--env",
        "PAUSE=600",
        "--env",
        "TOKEN=",
        "--env",
        "DOCKER_TOKEN=",
        "test",
    ];
    let mut killed =
        Running::start(prepare(project.command(sleeps)).stdout(std::process::Stdio::piped()));
    read_until(killed.stdout.as_mut().expect("piped"), "\n+OK\r\n");
    killed.kill().expect("killed");
    killed.wait().expect("ended");
    let pruned = run(&mut prepare(project.command("prune")));
    pruned.exits(0);
    // Two containers beside the build's, the network and the builds directory.
    assert_eq!(pruned.stdout.lines().count(), 5, "{pruned}");
    assert_eq!(project.leftovers(), "");
    [printed, script, copied].iter().map(comparable).collect()
}

#[test]
fn every_client_of_this_machine_serves_alike() {
    let clients = clients();
    for (version, file) in &clients {
        eprintln!("docker client {version}: {}", file.display());
    }
    if clients.len() == 1 {
        eprintln!("only one docker client here: that others serve alike is NOT shown by this run");
    }
    let remote = relay();
    let logs: Vec<Vec<String>> = thread::scope(|scope| {
        let threads: Vec<_> = clients
            .values()
            .map(|client| scope.spawn(|| serve(client, &remote)))
            .collect();
        let joined = threads
            .into_iter()
            .map(|thread| thread.join().expect("ended"));
        joined.collect()
    });
    let first = &logs[0][0];
    assert!(
        first.contains("\n+PONG\n+OK\n") && first.contains("\n15 3\n"),
        "{first}"
    );
    for log in logs.iter().flatten() {
        assert_eq!(log, first);
    }
}

/// A client of this machine in a directory of its own, for the front of `PATH`.
fn only(client: &Path, project: &Project) -> String {
    let bin = project.beside("bin");
    std::fs::create_dir(&bin).expect("created");
    symlink(client, bin.join("docker")).expect("linked");
    path_with(&bin)
}

#[test]
fn every_client_links_a_service_on_the_default_bridge() {
    let job = json!({"image": BUSYBOX, "services": [{"name": REDIS, "alias": "redis"}],
        "test": {"script": ["printf 'PING\\r\\nQUIT\\r\\n' | nc redis 6379"]}});
    for (version, client) in clients() {
        let project = Project::new(&job);
        let path = only(&client, &project);
        let arguments = ["exec", "--docker-network-mode", "bridge", "test"];
        let ran = run(project.command(arguments).env("PATH", path));
        assert!(
            ran.succeeds().stdout.contains("\n+PONG\r\n"),
            "{version}: {ran}"
        );
        assert!(!ran.stdout.contains("WARNING"), "{version}: {ran}");
    }
}

#[test]
fn what_a_client_refuses_is_said_in_its_words_and_with_the_key() {
    let job = json!({"image": BUSYBOX, "services": [REDIS], "test": {"script": ["echo fine"]}});
    for (version, client) in clients() {
        let project = Project::new(&job);
        let path = only(&client, &project);
        let exec = |arguments: &[&str]| {
            let arguments = [&["exec"], arguments, &["test"]].concat();
            run(project.command(&arguments).env("PATH", &path))
        };
        // The name of its container has an earlier end then.
        exec(&[]).succeeds();
        for (option, value, said) in [
            (
                "memory",
                "lots",
                "invalid argument \"lots\" for \"-m, --memory\" flag: invalid size: 'lots'; see the key memory of [runners.docker] (--docker-memory)",
            ),
            ("cpus", "5000", "ange of CPUs is from"),
            ("cap-add", "ALLOY", "CAP_ALLOY"),
        ] {
            let ran = exec(&[&format!("--docker-{option}"), value]);
            assert_eq!(ran.status, Some(3), "{version}: {ran}");
            let begin = "ERROR: Build failed (system failure): docker refuses to make the build container: ";
            let last = ran.stdout.lines().last().unwrap_or_default();
            assert!(
                last.starts_with(begin) && last.contains(said),
                "{version}: {ran}"
            );
            assert!(
                !ran.stdout.contains("somebody") && !last.contains("Usage"),
                "{version}: {ran}"
            );
        }
        // What counts for the helper too is refused before.
        let ran = exec(&["--docker-dns", "lots"]);
        assert_eq!(ran.status, Some(3), "{version}: {ran}");
        let last = ran.stdout.lines().last().unwrap_or_default();
        let said = "docker refuses an option: invalid argument \"lots\" for \"--dns\" flag: ";
        let key = "; see the key dns of [runners.docker] (--docker-dns)";
        assert!(
            last.contains(said) && last.ends_with(key),
            "{version}: {ran}"
        );
        let ran = exec(&["--docker-service-memory", "lots"]);
        let key = "see the key service_memory of [runners.docker] (--docker-service-memory)";
        assert!(ran.stdout.contains(key), "{version}: {ran}");
    }
}
