//! Artifacts between jobs of a coordinator.

mod support;

use std::fs;
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::json;
use support::coordinator::{Coordinator, Fault, Heard, Kind};
use support::http::Response;
use support::{BUSYBOX, run};

/// What the coordinator got: query, token and body of each upload.
type Uploads = Arc<Mutex<Vec<(String, String, Vec<u8>)>>>;

/// Has a coordinator take artifacts, with these statuses first, and hand out what `zip` says.
fn artifacts(coordinator: &Coordinator, first: &[u16], zip: Option<Vec<u8>>) -> Uploads {
    let uploads = Uploads::default();
    let (seen, mut first) = (uploads.clone(), first.to_vec());
    coordinator.misbehave(move |request| {
        if !request.path.ends_with("/artifacts") {
            return None;
        }
        let token = request.header("job-token").to_owned();
        if request.method == "GET" {
            let mut response = Response::status(if zip.is_some() { 200 } else { 404 });
            if token != "job-token-dependency" {
                response = Response::status(403);
            }
            response.body = zip.clone().unwrap_or_default();
            return Some(Fault::Before(response));
        }
        let mut uploads = seen.lock().expect("no panic");
        uploads.push((request.query.clone(), token, request.body.clone()));
        let status = if first.is_empty() {
            201
        } else {
            first.remove(0)
        };
        Some(Fault::Before(Response::status(status)))
    });
    uploads
}

fn serve(coordinator: &Coordinator, id: u64) -> Heard {
    coordinator.serve([]).exits(0);
    coordinator.heard(id)
}

#[test]
fn what_a_job_leaves_is_sent_and_the_next_one_gets_it() {
    let coordinator = Coordinator::new(Kind::AlloyCi);
    let uploads = artifacts(&coordinator, &[502], None);
    let mut job = coordinator.job(BUSYBOX, &["mkdir dist; echo made >dist/a; exit 3"]);
    job["artifacts"] = json!([{"name": "dist-$CI_JOB_NAME", "paths": ["dist/"], "when": "always", "expire_in": "1 week"}]);
    let heard = serve(&coordinator, coordinator.queue(job.clone()));
    assert_eq!(
        heard.failure_reason.as_deref(),
        Some("script_failure"),
        "{}",
        heard.log
    );
    heard.says("WARNING: the server failed (502); attempt 2 of 4 in 1 s");
    let uploads = uploads.lock().expect("no panic").clone();
    assert_eq!(uploads.len(), 2);
    let (query, token, body) = &uploads[1];
    assert_eq!(query, "expire_in=1%20week");
    assert_eq!(Some(token.as_str()), job["token"].as_str());
    let text = String::from_utf8_lossy(body);
    assert!(
        text.contains("name=\"file\"; filename=\"dist-test.zip\""),
        "{text}"
    );
    heard.says_nothing_of(token.as_str());
    // The zip stands between the form's head and its last boundary.
    let begin = body
        .windows(4)
        .position(|part| part == b"\r\n\r\n")
        .expect("a head")
        + 4;
    let boundary = text.lines().next().expect("a boundary").trim_end();
    let end = body.len() - format!("\r\n{boundary}--\r\n").len();
    let file = coordinator.beside("sent.zip");
    fs::write(&file, &body[begin..end]).expect("written");
    run(Command::new("unzip").arg("-tq").arg(&file)).exits(0);

    artifacts(&coordinator, &[], Some(body[begin..end].to_vec()));
    let mut job = coordinator.job(BUSYBOX, &["cat dist/a"]);
    job["dependencies"] = json!([{"id": 4711, "name": "build", "token": "job-token-dependency",
                                   "artifacts_file": {"filename": "dist.zip", "size": 2500}}]);
    let heard = serve(&coordinator, coordinator.queue(job));
    heard
        .succeeds()
        .says("\nDownloading artifacts of build (4711)...\n  1 file, 1 kB\n")
        .says("\nmade\n");
}

#[test]
fn a_coordinators_no_is_said_and_fails_the_job() {
    let coordinator = Coordinator::new(Kind::GitLab);
    for (status, said) in [
        (413, "they are larger than it takes (413)"),
        (403, "the job may not do that, or is over there (403)"),
    ] {
        let uploads = artifacts(&coordinator, &[status], None);
        let mut job = coordinator.job(BUSYBOX, &["echo x >a"]);
        job["artifacts"] = json!([{"paths": ["a"]}]);
        let heard = serve(&coordinator, coordinator.queue(job));
        heard.fails();
        let log = String::from_utf8_lossy(&heard.trace);
        assert!(
            log.contains(&format!("ERROR: the server refuses the artifacts: {said}")),
            "{log}"
        );
        assert_eq!(uploads.lock().expect("no panic").len(), 1);
    }
    artifacts(&coordinator, &[], None);
    let mut job = coordinator.job(BUSYBOX, &["echo never"]);
    job["dependencies"] = json!([{"id": 4711, "name": "build", "token": "job-token-dependency",
                                   "artifacts_file": {"filename": "a.zip", "size": 2500}}]);
    let heard = serve(&coordinator, coordinator.queue(job));
    heard.fails();
    let log = String::from_utf8_lossy(&heard.trace);
    assert!(
        log.contains("the artifacts of build (4711) cannot be fetched")
            && log.contains("they have expired"),
        "{log}"
    );
    assert!(!log.contains("$ echo never"), "{log}");
}
