//! Just enough of an HTTP server for tests: one request a connection, and answers that can go wrong.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A request, read whole.
pub struct Request {
    pub method: String,
    /// Without the query.
    pub path: String,
    pub query: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }
}

/// What is answered.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The connection ends after so many bytes of the body.
    pub torn_at: Option<usize>,
    /// Nothing is answered: the connection ends, after this long.
    pub silent_for: Option<Duration>,
}

impl Response {
    pub fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
            torn_at: None,
            silent_for: None,
        }
    }

    pub fn json(status: u16, value: &serde_json::Value) -> Self {
        Self {
            body: value.to_string().into_bytes(),
            ..Self::status(status)
        }
    }

    #[must_use]
    pub fn with(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    /// No answer at all.
    pub fn silence(after: Duration) -> Self {
        Self {
            silent_for: Some(after),
            ..Self::status(0)
        }
    }
}

/// A running server; it ends with this value.
pub struct Server {
    pub address: SocketAddr,
    stop: Arc<AtomicBool>,
}

impl Server {
    /// Serves at a free port of this address.
    pub fn start(
        host: &str,
        tls: Option<Arc<ServerConfig>>,
        answer: impl Fn(&Request) -> Response + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((host, 0)).expect("a free port");
        let server = Self {
            address: listener.local_addr().expect("bound"),
            stop: Arc::default(),
        };
        let (stop, answer) = (server.stop.clone(), Arc::new(answer));
        thread::spawn(move || {
            for connection in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let (answer, tls) = (answer.clone(), tls.clone());
                let Ok(connection) = connection else { continue };
                // A client that goes away is what some tests are about.
                thread::spawn(move || drop(serve(connection, tls, &*answer)));
            }
        });
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(self.address));
    }
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

fn serve(
    connection: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    answer: &dyn Fn(&Request) -> Response,
) -> io::Result<()> {
    connection.set_read_timeout(Some(Duration::from_mins(1)))?;
    let stream: Box<dyn Stream> = match tls {
        Some(config) => {
            let session = ServerConnection::new(config).map_err(io::Error::other)?;
            Box::new(StreamOwned::new(session, connection))
        }
        None => Box::new(connection),
    };
    let mut stream = BufReader::new(stream);
    let request = read(&mut stream)?;
    let response = answer(&request);
    if let Some(pause) = response.silent_for {
        thread::sleep(pause);
        return Ok(());
    }
    let to = stream.get_mut();
    write!(
        to,
        "HTTP/1.1 {} x\r\nConnection: close\r\n",
        response.status
    )?;
    for (name, value) in &response.headers {
        write!(to, "{name}: {value}\r\n")?;
    }
    write!(to, "Content-Length: {}\r\n\r\n", response.body.len())?;
    let end = response.torn_at.unwrap_or(response.body.len());
    to.write_all(&response.body[..end.min(response.body.len())])?;
    to.flush()
}

fn read(stream: &mut BufReader<Box<dyn Stream>>) -> io::Result<Request> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let method = words.next().unwrap_or_default().to_owned();
    let target = words.next().unwrap_or_default().to_owned();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let mut body = Vec::new();
    if headers.contains_key("expect") {
        stream
            .get_mut()
            .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    if headers
        .get("transfer-encoding")
        .is_some_and(|how| how == "chunked")
    {
        loop {
            let mut line = String::new();
            stream.read_line(&mut line)?;
            let size = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
            let mut chunk = vec![0; size + 2];
            stream.read_exact(&mut chunk)?;
            if size == 0 {
                break;
            }
            body.extend_from_slice(&chunk[..size]);
        }
    } else if let Some(length) = headers.get("content-length") {
        body = vec![0; length.parse().map_err(io::Error::other)?];
        stream.read_exact(&mut body)?;
    }
    Ok(Request {
        method,
        path: path.to_owned(),
        query: query.to_owned(),
        headers,
        body,
    })
}
