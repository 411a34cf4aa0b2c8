//! Waits until services accept connections.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The longest wait for one connection.
const CONNECT: Duration = Duration::from_secs(1);
/// How long to wait before another try, after a service refused a connection.
const PAUSE: Duration = Duration::from_millis(20);
/// docker's resolver knows the name of every container that runs: a name that it does not know for this long belongs to
/// a container that has ended.
const UNKNOWN: Duration = Duration::from_secs(2);
const NO_ANSWER: &str = "no answer on";

/// How many ports of a service are tried.
const MOST_PORTS: usize = 20;

/// A service, read from `HOST=PORTS`, with ports as an image's `ExposedPorts` names them: `5432/tcp`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    host: String,
    /// The TCP ports in ascending order.
    ports: Vec<u16>,
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
        let mut ports: Vec<u16> = ports.split_whitespace().filter_map(tcp).collect();
        ports.sort_unstable();
        ports.dedup();
        ports.truncate(MOST_PORTS);
        Ok(Self {
            host: host.to_owned(),
            ports,
        })
    }
}

/// Tries all services in parallel. Returns a problem for each, or `None` if it accepted a connection.
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

/// Tries all ports of a service in parallel: one connection is enough. Returns the problem, if there is one.
fn ask(target: &Target, limit: Duration) -> Option<String> {
    let answered = AtomicBool::new(false);
    let problems: Option<Vec<String>> = thread::scope(|scope| {
        let answered = &answered;
        let ports = target.ports.iter();
        let threads: Vec<_> = ports
            .map(|port| scope.spawn(move || ask_port(&target.host, *port, limit, answered)))
            .collect();
        let joined = threads.into_iter().map(|thread| {
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        // All threads end as soon as one of them has a connection.
        joined.collect::<Vec<_>>().into_iter().collect()
    });
    let ended = problems?.into_iter().next();
    let Some(problem) = ended else {
        return Some("its image exposes no TCP port to wait for".to_owned());
    };
    if target.ports.len() == 1 || !problem.starts_with(NO_ANSWER) {
        return Some(problem);
    }
    let ports: Vec<String> = target.ports.iter().map(ToString::to_string).collect();
    Some(format!(
        "no answer on any of the ports {} in {} s",
        ports.join(", "),
        limit.as_secs()
    ))
}

/// Tries a port until it, or another port of the service, accepts a connection. Returns the problem, if there is one.
fn ask_port(host: &str, port: u16, limit: Duration, answered: &AtomicBool) -> Option<String> {
    let begin = Instant::now();
    let mut known = begin;
    loop {
        match addresses(host, port) {
            Ok(addresses) => {
                known = Instant::now();
                if addresses
                    .iter()
                    .any(|address| TcpStream::connect_timeout(address, CONNECT).is_ok())
                {
                    answered.store(true, Ordering::Relaxed);
                    return None;
                }
            }
            Err(_) if known.elapsed() > UNKNOWN => return Some("it ended".to_owned()),
            Err(_) => {}
        }
        if answered.load(Ordering::Relaxed) {
            return None;
        }
        if begin.elapsed() >= limit {
            return Some(format!("{NO_ANSWER} port {port} in {} s", limit.as_secs()));
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
    fn asks_the_first_twenty_tcp_ports() {
        for (text, ports) in [
            ("h=5432/tcp ", &[5432][..]),
            ("h=9200/tcp 53/udp 80/tcp 80/tcp", &[80, 9200]),
            ("h=53/udp", &[]),
            ("h=", &[]),
        ] {
            assert_eq!(target(text).ports, ports, "{text}");
        }
        let many: Vec<String> = (1000..2000).map(|port| format!("{port}/tcp")).collect();
        let many = target(&format!("h={}", many.join(" ")));
        assert_eq!(many.ports, (1000..1020).collect::<Vec<_>>());
        assert!("h".parse::<Target>().is_err());
    }

    #[test]
    fn one_port_that_answers_is_enough() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let open = listener.local_addr().expect("bound").port();
        let closed: Vec<u16> = (0..3)
            .map(|_| {
                let port = TcpListener::bind("127.0.0.1:0").expect("a port");
                port.local_addr().expect("bound").port()
            })
            .collect();
        let text: Vec<String> = closed.iter().map(|port| format!("{port}/tcp")).collect();
        let text = text.join(" ");
        let limit = Duration::from_secs(20);
        let begin = Instant::now();
        let some = target(&format!("127.0.0.1={text} {open}/tcp"));
        assert_eq!(check(&[some], limit), [None]);
        assert!(begin.elapsed() < limit);
        let none = target(&format!("127.0.0.1={text}"));
        let ports: Vec<String> = none.ports.iter().map(ToString::to_string).collect();
        let said = format!("no answer on any of the ports {} in 1 s", ports.join(", "));
        assert_eq!(check(&[none], Duration::from_secs(1)), [Some(said)]);
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
