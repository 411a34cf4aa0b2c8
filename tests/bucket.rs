//! Caches in a bucket, on a real S3 server that checks signatures.

mod support;

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::json;
use support::coordinator::gateway;
use support::{Project, docker, eventually, run};

const ACCESS: &str = "access-key-0815";
const SECRET: &str = "secret-key-4711";

struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(buckets: &Path) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/bin/s3s-fs");
        assert!(
            path.exists(),
            "run the tests by scripts/test, which makes the S3 server"
        );
        let host = gateway();
        let port = TcpListener::bind((host.as_str(), 0))
            .expect("a port")
            .local_addr()
            .expect("bound")
            .port();
        let keys = ["--access-key", ACCESS, "--secret-key", SECRET];
        let child = Command::new(path)
            .args(["--host", &host, "--port", &port.to_string()])
            .args(keys)
            .arg(buckets)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        let address = format!("{host}:{port}");
        eventually(Duration::from_secs(20), "the S3 server answers", || {
            TcpStream::connect(&address).is_ok()
        });
        Self { child, address }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn project() -> Project {
    // The script says what all containers know, and waits for whoever looks at the host's processes.
    Project::job(
        json!({"cache": {"key": "deps/$CI_JOB_NAME", "paths": ["deps"]}, "script": [
            "echo found $(cat deps/n 2>/dev/null || echo nothing)", "mkdir -p deps; echo x >deps/n", "env", "sleep 3"]}),
    )
}

fn configure(project: &Project, address: &str, secret: &str, more: &str) -> String {
    let file = project.beside("config.toml");
    let text = format!(
        "[[runners]]\nname = \"shared\"\n[runners.cache]\nType = \"s3\"\nPath = \"ci\"\n{more}\n[runners.cache.s3]\n\
         ServerAddress = \"{address}\"\nAccessKey = \"{ACCESS}\"\nSecretKey = \"{secret}\"\nBucketName = \"caches\"\nInsecure = true\n"
    );
    fs::write(&file, text).expect("written");
    file.display().to_string()
}

#[test]
fn caches_go_through_a_bucket_and_no_container_sees_its_keys() {
    let project = project();
    let buckets = project.beside("buckets");
    fs::create_dir_all(buckets.join("caches")).expect("made");
    let server = Server::start(&buckets);
    let config = configure(&project, &server.address, SECRET, "");
    let arguments = [
        "-x", "--config", &config, "exec", "--runner", "shared", "test",
    ];
    let id = project.id();
    let child = project.spawn(arguments);
    // While it runs: what docker says of its containers, and the arguments of all processes.
    let mut seen = String::new();
    eventually(Duration::from_mins(1), "containers are there", || {
        let names = docker(&["ps", "--format", "{{.Names}}"]);
        let ours: Vec<&str> = names
            .lines()
            .filter(|name| name.contains(&format!("-project-{id}-")))
            .collect();
        for name in &ours {
            seen += &run(Command::new("docker").args(["inspect", name])).stdout;
        }
        let processes =
            run(Command::new("sh")
                .args(["-c", "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '"]));
        let own = format!("--secret-key {SECRET} ");
        seen += &processes
            .stdout
            .replace(&own, "")
            .replace(&format!("--access-key {ACCESS} "), "");
        ours.len() >= 2
    });
    let first = support::Ran::from(child.wait_with_output().expect("ended"));
    first
        .succeeds()
        .says("\nRestoring cache deps/test...\n  there is none yet\n");
    assert!(seen.contains("-helper"), "{seen}");
    for secret in [SECRET, ACCESS, "X-Amz-Signature"] {
        assert!(!seen.contains(secret), "{secret}");
        first.says_nothing_of(secret).not_on_stderr(secret);
    }
    let object = buckets.join(format!("caches/ci/runner/local/project/{id}/deps/test"));
    assert!(object.is_file(), "{}", object.display());
    project
        .run(arguments)
        .succeeds()
        .says("\nRestoring cache deps/test...\n  1 file, 1 kB\n")
        .says("\nfound x\n");
    // All runners share what one of them keeps, where that is wanted.
    let config = configure(&project, &server.address, SECRET, "Shared = true");
    project
        .run(["--config", &config, "exec", "--runner", "shared", "test"])
        .succeeds();
    assert!(
        buckets
            .join(format!("caches/ci/project/{id}/deps/test"))
            .is_file()
    );
    // The server believes no other signature, and a job does not fail of that.
    let config = configure(&project, &server.address, "another-key", "");
    project
        .run(["--config", &config, "exec", "--runner", "shared", "test"])
        .succeeds()
        .says("WARNING: cache deps/test is not restored: the server refuses the download")
        .says("WARNING: cache deps/test is not kept: the server refuses the upload");
}
