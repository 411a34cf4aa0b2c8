//! An engine of a pool.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;

use crate::docker::Docker;
use crate::worker::Worker;
use crate::worker::recovery::Recovered;

/// An engine, and what runs jobs on it.
pub(super) struct Member {
    /// Its client, as no process's.
    pub docker: Docker,
    /// Made on first use.
    worker: Mutex<Option<Arc<Worker>>>,
    /// Dead processes may have left something there: it did not answer during recovery.
    unfinished: AtomicBool,
}

impl Member {
    pub fn new(docker: Docker) -> Self {
        Self {
            docker,
            worker: Mutex::default(),
            unfinished: AtomicBool::new(false),
        }
    }

    /// As the configuration writes it.
    pub fn name(&self) -> &str {
        self.docker.engine().id()
    }

    /// Its worker, where it has one.
    pub fn worker_if_open(&self) -> Option<Arc<Worker>> {
        self.lock().clone()
    }

    /// Its worker, which `open` makes where there is none.
    pub fn worker(&self, open: impl FnOnce() -> Result<Worker>) -> Result<Arc<Worker>> {
        let mut worker = self.lock();
        if let Some(worker) = &*worker {
            return Ok(worker.clone());
        }
        Ok(worker.insert(Arc::new(open()?)).clone())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Worker>>> {
        self.worker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how far a recovery came.
    pub fn is_recovered(&self, recovered: &Recovered) {
        self.unfinished
            .store(recovered.unfinished, Ordering::Relaxed);
    }

    /// Whether recovery has to be tried again.
    pub fn is_unfinished(&self) -> bool {
        self.unfinished.load(Ordering::Relaxed)
    }
}
