//! A server that takes connections and never answers.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::eventually;

pub struct Deaf {
    pub address: SocketAddr,
    callers: Arc<Mutex<Vec<TcpStream>>>,
}

impl Deaf {
    pub fn start(host: &str) -> Self {
        let listener = TcpListener::bind((host, 0)).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let callers = Arc::<Mutex<Vec<TcpStream>>>::default();
        let held = callers.clone();
        thread::spawn(move || {
            for caller in listener.incoming().flatten() {
                held.lock().expect("no panic").push(caller);
            }
        });
        Self { address, callers }
    }

    /// Waits until somebody calls.
    pub fn wait_for_a_call(&self) {
        eventually(Duration::from_mins(1), "somebody calls", || {
            !self.callers.lock().expect("no panic").is_empty()
        });
    }
}
