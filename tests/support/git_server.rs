//! A real git server over HTTP: git's own `http-backend`, behind a password.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use super::http::{Request, Response};

/// Answers a request for a repository below `root`; its path begins with `/git`. Whoever does not show
/// `authorization` is asked to.
pub fn answer(root: &Path, authorization: &str, request: &Request) -> Response {
    if request.header("authorization") != authorization {
        return Response::status(401).with("WWW-Authenticate", "Basic realm=\"git\"");
    }
    let mut backend = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", request.path.trim_start_matches("/git"))
        .env("QUERY_STRING", &request.query)
        .env("REQUEST_METHOD", &request.method)
        .env("CONTENT_TYPE", request.header("content-type"))
        .env("CONTENT_LENGTH", request.body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", request.header("content-encoding"))
        .env("GIT_PROTOCOL", request.header("git-protocol"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("git http-backend");
    let mut stdin = backend.stdin.take().expect("piped");
    let body = request.body.clone();
    let writer = std::thread::spawn(move || drop(stdin.write_all(&body)));
    let output = backend.wait_with_output().expect("ended").stdout;
    writer.join().expect("no panic");
    let end = output.windows(4).position(|window| window == b"\r\n\r\n");
    let end = end.expect("a head");
    let mut response = Response::status(200);
    for line in String::from_utf8_lossy(&output[..end]).lines() {
        let (name, value) = line.split_once(": ").expect("a header");
        if name == "Status" {
            response.status = value[..3].parse().expect("a status");
        } else {
            response = response.with(name, value);
        }
    }
    response.body = output[end + 4..].to_vec();
    response
}
