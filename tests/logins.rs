//! Whom the helper's git shows the password that a clone's address has.

mod support;

use std::fs;
use std::sync::{Arc, Mutex};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use support::coordinator::{Coordinator, Kind, gateway};
use support::http::{Response, Server};
use support::{NONROOT, git, run, shell};

/// A server that has no repository, asks who one is, and notes what it is told, a text for each request.
fn curious(tls: Option<ServerConfig>) -> (Server, Arc<Mutex<Vec<String>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let notes = seen.clone();
    let server = Server::start(&gateway(), tls.map(Arc::new), move |request| {
        // A connection that ended before there was a request is none.
        if !request.path.is_empty() {
            let authorization = request.header("authorization").to_owned();
            notes.lock().expect("no panic").push(authorization);
        }
        Response::status(401).with("WWW-Authenticate", "Basic realm=\"git\"")
    });
    (server, seen)
}

#[test]
fn where_the_git_server_leads_elsewhere_the_password_stays() {
    let coordinator = Coordinator::new(Kind::AlloyCi);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let notes = seen.clone();
    let foreign = Server::start(&gateway(), None, move |request| {
        let authorization = request.header("authorization").to_owned();
        notes.lock().expect("no panic").push(authorization);
        Response::status(404)
    });
    let to = foreign.address;
    let git_server = Server::start(&gateway(), None, move |request| {
        Response::status(302).with("Location", format!("http://{to}{}", request.path))
    });
    let mut job = coordinator.job(NONROOT, &["true"]);
    let address = git_server.address;
    job["git_info"]["repo_url"] = json!(format!("http://user:hunter2@{address}/acme/site.git"));
    let id = coordinator.queue(job);
    coordinator.serve([]);
    let heard = coordinator.heard(id);
    heard.fails();
    let seen = seen.lock().expect("no panic");
    assert!(seen.is_empty(), "{seen:?}\n{}", heard.log);
    heard.says("error: 302");
}

/// Where a submodule is, the repository says.
#[test]
fn a_submodule_on_another_server_gets_no_password() {
    let coordinator = Coordinator::new(Kind::AlloyCi);
    let (foreign, seen) = curious(None);
    let work = coordinator.work();
    let commit = coordinator.sha();
    let modules = format!(
        "[submodule \"sub\"]\n\tpath = sub\n\turl = http://{}/acme/sub.git\n",
        foreign.address
    );
    fs::write(work.join(".gitmodules"), modules).expect("written");
    let link = format!("160000,{commit},sub");
    git(&work, &["update-index", "--add", "--cacheinfo", &link]);
    git(&work, &["add", ".gitmodules"]);
    git(&work, &["commit", "-qm", "a submodule"]);
    git(&work, &["push", "-q", "origin", "HEAD:refs/heads/master"]);
    let mut job = coordinator.job(NONROOT, &["true"]);
    let variables = job["variables"].as_array_mut().expect("a list");
    variables.push(json!({"key": "GIT_SUBMODULE_STRATEGY", "value": "normal", "public": true}));
    let id = coordinator.queue(job);
    coordinator.serve([]);
    let heard = coordinator.heard(id);
    heard.fails();
    let seen = seen.lock().expect("no panic");
    assert!(!seen.is_empty(), "{}", heard.log);
    assert!(seen.iter().all(String::is_empty), "{seen:?}\n{}", heard.log);
}

/// A certificate for a server at this address that nobody else has signed.
fn unknown_certificate(address: &str) -> ServerConfig {
    let directory = tempfile::tempdir().expect("a directory");
    let script = format!(
        "cd '{}' && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=x \
           -addext subjectAltName=IP:{address} -keyout key.pem -out certificate.pem",
        directory.path().display()
    );
    run(&mut shell("sh", &script)).exits(0);
    let file = |name: &str| directory.path().join(name);
    let certificate = CertificateDer::from_pem_file(file("certificate.pem")).expect("PEM");
    let key = PrivateKeyDer::from_pem_file(file("key.pem")).expect("PEM");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a certificate")
}

#[test]
fn a_job_that_checks_no_certificate_shows_no_password_to_a_server_that_nobody_knows() {
    let coordinator = Coordinator::new(Kind::AlloyCi);
    for (login, trusting) in [("user:hunter2@", false), ("", true)] {
        let (server, seen) = curious(Some(unknown_certificate(&gateway())));
        let mut job = coordinator.job(NONROOT, &["true"]);
        // The first one is the coordinator's own, which all jobs have; the second one is the project's.
        let variables = job["variables"].as_array_mut().expect("a list");
        variables.push(json!({"key": "GIT_SSL_NO_VERIFY", "value": "true", "public": true}));
        let address = server.address;
        job["git_info"]["repo_url"] = json!(format!("https://{login}{address}/acme/site.git"));
        let id = coordinator.queue(job);
        coordinator.serve([]);
        let heard = coordinator.heard(id);
        heard.fails();
        let seen = seen.lock().expect("no panic");
        assert!(seen.iter().all(String::is_empty), "{seen:?}\n{}", heard.log);
        // Where there is no password to lose, the job's word counts.
        assert_eq!(!seen.is_empty(), trusting, "{seen:?}\n{}", heard.log);
        let refused = heard.log.contains("certificate");
        assert_eq!(refused, !trusting, "{}", heard.log);
    }
}
