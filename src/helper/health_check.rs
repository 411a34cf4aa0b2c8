//! Waits until services answer.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::thread;
use std::time::{Duration, Instant};

/// The longest wait for one connection.
const CONNECT: Duration = Duration::from_secs(1);
/// A service that refuses is asked again after this.
const PAUSE: Duration = Duration::from_millis(20);
/// docker's resolver knows a name from the moment its container runs: one that it does not know for this
/// long belongs to a container that has ended.
const UNKNOWN: Duration = Duration::from_secs(2);

/// A service to ask, read from `HOST=PORTS`; the ports as an image's `ExposedPorts` names them, `5432/tcp`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    host: String,
    /// The first TCP port: the one with the smallest number.
    port: Option<u16>,
}

impl std::str::FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (host, ports) = text
            .split_once('=')
            .ok_or_else(|| format!("`{text}` is not HOST=PORTS"))?;
        let tcp = |port: &str| match port.split_once('/') {
            Some((number, "tcp")) => number.parse().ok(),
            Some(_) => None,
            None => port.parse().ok(),
        };
        Ok(Self {
            host: host.to_owned(),
            port: ports.split_whitespace().filter_map(tcp).min(),
        })
    }
}

/// Asks all targets side by side. Returns what is wrong with each, or nothing.
#[must_use]
pub fn check(targets: &[Target], limit: Duration) -> Vec<Option<String>> {
    thread::scope(|scope| {
        let threads: Vec<_> = targets
            .iter()
            .map(|target| scope.spawn(|| ask(target, limit)))
            .collect();
        threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect()
    })
}

fn ask(target: &Target, limit: Duration) -> Option<String> {
    let Some(port) = target.port else {
        return Some("its image exposes no TCP port to wait for".to_owned());
    };
    let begin = Instant::now();
    let mut known = begin;
    loop {
        match addresses(&target.host, port) {
            Ok(addresses) => {
                known = Instant::now();
                if addresses
                    .iter()
                    .any(|address| TcpStream::connect_timeout(address, CONNECT).is_ok())
                {
                    return None;
                }
            }
            Err(_) if known.elapsed() > UNKNOWN => return Some("it ended".to_owned()),
            Err(_) => {}
        }
        if begin.elapsed() >= limit {
            return Some(format!("no answer on port {port} in {} s", limit.as_secs()));
        }
        thread::sleep(PAUSE);
    }
}

fn addresses(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let addresses: Vec<_> = (host, port).to_socket_addrs()?.collect();
    if addresses.is_empty() {
        Err(io::ErrorKind::NotFound.into())
    } else {
        Ok(addresses)
    }
}

#[cfg(test)]
mod tests {
    use super::{Target, check};
    use std::net::TcpListener;
    use std::time::{Duration, Instant};

    fn target(text: &str) -> Target {
        text.parse().expect(text)
    }

    #[test]
    fn asks_the_smallest_tcp_port() {
        for (text, port) in [
            ("h=5432/tcp ", Some(5432)),
            ("h=9200/tcp 53/udp 80/tcp", Some(80)),
            ("h=53/udp", None),
            ("h=", None),
        ] {
            assert_eq!(target(text).port, port, "{text}");
        }
        assert!("h".parse::<Target>().is_err());
    }

    #[test]
    fn says_what_does_not_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let open = listener.local_addr().expect("bound").port();
        let closed = TcpListener::bind("127.0.0.1:0")
            .expect("a port")
            .local_addr()
            .expect("bound")
            .port();
        let targets = [
            target(&format!("localhost={open}/tcp")),
            target(&format!("127.0.0.1={closed}/tcp")),
            target("127.0.0.1="),
        ];
        let begin = Instant::now();
        let problems = check(&targets, Duration::from_secs(1));
        assert!(begin.elapsed() < Duration::from_secs(3));
        assert_eq!(
            problems,
            [
                None,
                Some(format!("no answer on port {closed} in 1 s")),
                Some("its image exposes no TCP port to wait for".to_owned())
            ]
        );
    }
}
