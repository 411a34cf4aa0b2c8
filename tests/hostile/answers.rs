//! A coordinator that answers what it should not: bodies and headers without end, and headers that are none.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy_runner::coordinator::{Client, End, Features, Info, InfoConfig, JobResponse};
use alloy_runner::http::Tls;
use alloy_runner::job::files::{self, Kind};
use alloy_runner::job::payload::JobKey;
use alloy_runner::secret::Secret;
use proptest::prelude::*;

use super::memory::taken;
use super::tries::tried;
use super::words::{damaged, strokes};

fn client(address: &str) -> Client {
    let info = Info {
        name: "alloy-runner",
        version: "0",
        revision: "0",
        platform: "linux",
        architecture: "amd64",
        executor: "docker",
        shell: "bash".to_owned(),
        features: Features,
        config: InfoConfig {
            gpus: String::new(),
        },
    };
    Client::new(
        &format!("http://{address}"),
        &Tls::default(),
        (info, "s_0123456789ab".to_owned()),
        Arc::new(|_, _| {}),
    )
    .expect("a client")
}

/// Answers each connection with these bytes, the last ones again and again until nobody reads any more.
fn server(first: Vec<u8>, again: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = listener.local_addr().expect("an address").to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (first, again) = (first.clone(), again.clone());
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().expect("cloned"));
                let mut line = String::new();
                let mut length = 0;
                while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                    if let Some(said) = line.to_lowercase().strip_prefix("content-length:") {
                        length = said.trim().parse().unwrap_or(0);
                    }
                    line.clear();
                }
                drop(reader.take(length).read_to_end(&mut Vec::new()));
                let mut stream = stream;
                drop(stream.write_all(&first));
                // A terabyte is without end.
                for _ in 0..if again.is_empty() { 0 } else { 1_u64 << 40 } {
                    if stream.write_all(&again).is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

#[test]
fn an_answer_without_end_is_cut() {
    let secret = Secret::new("token");
    let chunk = [b"10000\r\n".as_slice(), &b" ".repeat(0x10000), b"\r\n"].concat();
    let chunked = b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for (what, first, again) in [
        (
            "a body",
            b"HTTP/1.1 201 Created\r\nContent-Length: 99999999999999\r\n\r\n".to_vec(),
            b"[".repeat(65536),
        ),
        ("a body in chunks", chunked, chunk),
        (
            "a body to the end",
            b"HTTP/1.1 201 Created\r\nConnection: close\r\n\r\n{\"id\":1,\"token\":\"x\",\"a\":\""
                .to_vec(),
            b"a".repeat(65536),
        ),
        (
            "a header",
            b"HTTP/1.1 201 Created\r\nX-A: ".to_vec(),
            b"a".repeat(65536),
        ),
        (
            "headers",
            b"HTTP/1.1 201 Created\r\n".to_vec(),
            b"X-A: a\r\n".repeat(4096),
        ),
        ("a status", b"HTTP/1.1 201 ".to_vec(), b"a".repeat(65536)),
        (
            "interim answers",
            Vec::new(),
            b"HTTP/1.1 100 Continue\r\n\r\n".to_vec(),
        ),
        (
            "a chunk's length",
            b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(),
            b"0".repeat(65536),
        ),
    ] {
        let client = client(&server(first, again));
        let began = Instant::now();
        let (asked, taken) = taken(|| client.request_job(&secret, None));
        eprintln!(
            "{what}: {} MB, {:?}: {:?}",
            taken >> 20,
            began.elapsed(),
            asked.as_ref().err().map(ToString::to_string)
        );
        assert!(taken < 64 << 20, "{what}: {taken}");
        assert!(began.elapsed() < Duration::from_secs(80), "{what}");
        match asked {
            Ok(JobResponse::Job(out)) => assert!(out.job.is_err(), "{what}"),
            Ok(JobResponse::Lost(error)) | Err(error) => assert!(
                error.to_string().contains("POST http://127.0.0.1"),
                "{error}"
            ),
            Ok(JobResponse::Nothing(_)) => panic!("{what}: nothing"),
        }
    }
}

#[test]
fn damaged_answers_are_errors_or_answers() {
    let secret = Secret::new("token");
    let answer = b"HTTP/1.1 416 Range\r\nRange: 0-18446744073709551615\r\nRetry-After: 18446744073709551615\r\nLocation: http://x/\r\n\
        X-GitLab-Last-Update: a\r\nJob-Status: canceled\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}";
    let tokens = [
        "201",
        "204",
        "404",
        "409",
        "413",
        "429",
        "503",
        "\r\n",
        "\n",
        "\0",
        "99999999999999999999",
        "-1",
        "0-",
        "-",
        "chunked",
        "Transfer-Encoding: chunked\r\n",
        "Content-Encoding: gzip\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Location: \u{1b}[2J\r\n",
        "Connection: close\r\n",
        "HTTP/9.9",
    ];
    tried(150, &strokes(), |strokes| {
        let bytes = damaged(answer, &strokes, &tokens);
        // What would have to go on is not there: the connection ends.
        let client = client(&server(bytes, Vec::new()));
        let ((), taken) = taken(|| {
            if let Err(error) = client.request_job(&secret, Some("x")) {
                let said = error.to_string();
                assert!(said.len() < 4000, "{said}");
                assert!(!said.contains(['\n', '\r', '\u{1b}']), "{said:?}");
            }
            for kind in [Kind::AlloyCi, Kind::GitLab] {
                let job = JobKey {
                    id: 1,
                    token: secret.clone(),
                    kind,
                    features: files::Features::default(),
                };
                drop(client.patch(&job, usize::MAX - 10, b"part", false));
                drop(client.finish(&job, &End::default(), "log"));
            }
        });
        prop_assert!(taken < 16 << 20, "{taken}");
        Ok(())
    });
}
