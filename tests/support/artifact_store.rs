//! Where a coordinator keeps the artifacts of its jobs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::coordinator::{Coordinator, Fault};
use super::http::Response;

/// A file that a job left: its name, the query that came with it, and its bytes.
#[derive(Clone)]
pub struct Uploaded {
    pub name: String,
    pub query: String,
    pub bytes: Vec<u8>,
}

/// What each job left.
pub type Store = Arc<Mutex<BTreeMap<u64, Vec<Uploaded>>>>;

/// Has a coordinator keep the files of its jobs, and hand out their archives to who has their token.
pub fn store(coordinator: &Coordinator) -> Store {
    let store = Store::default();
    let kept = store.clone();
    coordinator.misbehave(move |request| {
        let job = request.path.strip_prefix("/api/v4/jobs/")?;
        let job: u64 = job.strip_suffix("/artifacts")?.parse().ok()?;
        let tokens = [
            format!("job-token-{job}-0815"),
            format!("glcbt-64_token-of-job-{job}"),
        ];
        if !tokens
            .iter()
            .any(|token| token == request.header("job-token"))
        {
            return Some(Fault::Before(Response::status(403)));
        }
        let mut kept = kept.lock().expect("no panic");
        let files = kept.entry(job).or_default();
        if request.method == "POST" {
            files.push(uploaded(&request.query, &request.body));
            return Some(Fault::Before(Response::status(201)));
        }
        let is_archive = |file: &&Uploaded| file.query.contains("artifact_type=archive");
        let archive = files.iter().find(is_archive);
        Some(Fault::Before(match archive {
            Some(archive) => Response {
                body: archive.bytes.clone(),
                ..Response::status(200)
            },
            None => Response::status(404),
        }))
    });
    store
}

/// Takes a file out of a form.
pub fn uploaded(query: &str, form: &[u8]) -> Uploaded {
    let head = form.windows(4).position(|part| part == b"\r\n\r\n");
    let head = head.expect("a head");
    let text = String::from_utf8_lossy(&form[..head]);
    let boundary = text.lines().next().expect("a boundary").trim_end();
    let (_, name) = text.split_once("filename=\"").expect("a name");
    let end = form.len() - format!("\r\n{boundary}--\r\n").len();
    Uploaded {
        name: name.split('"').next().unwrap_or_default().to_owned(),
        query: query.to_owned(),
        bytes: form[head + 4..end].to_vec(),
    }
}
