//! What jobs of this process could not remove, for want of an engine that answers: the next job of the same names removes
//! it before it begins, or a pool does when the engine answers again. No two do so at once, and none beside a job of these
//! names.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The prefixes of names of which something is left on an engine.
#[derive(Default)]
pub(super) struct Orphaned {
    prefixes: Mutex<Prefixes>,
    changed: Condvar,
}

#[derive(Default)]
struct Prefixes {
    left: BTreeSet<String>,
    being_removed: BTreeSet<String>,
}

impl Orphaned {
    /// A job of these names has ended, and could not remove all.
    pub fn remember(&self, prefix: String) {
        self.lock().left.insert(prefix);
    }

    /// A job of these names begins; it waits while its names are being removed. Returns whether something is left of
    /// them, which is the job's to remove from now on.
    pub fn take(&self, prefix: &str) -> bool {
        let busy = |prefixes: &mut Prefixes| prefixes.being_removed.contains(prefix);
        let free = self.changed.wait_while(self.lock(), busy);
        let mut prefixes = free.unwrap_or_else(PoisonError::into_inner);
        prefixes.left.remove(prefix)
    }

    /// Removes all, up to the first where that fails. `remove` says whether it could.
    pub fn remove_all(&self, remove: impl Fn(&str) -> bool) {
        while let Some(prefix) = self.begin_removal() {
            let removed = remove(&prefix);
            let mut prefixes = self.lock();
            prefixes.being_removed.remove(&prefix);
            self.changed.notify_all();
            if !removed {
                prefixes.left.insert(prefix);
                return;
            }
        }
    }

    fn begin_removal(&self) -> Option<String> {
        let mut prefixes = self.lock();
        let prefix = prefixes.left.pop_first()?;
        prefixes.being_removed.insert(prefix.clone());
        Some(prefix)
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        let prefixes = self.lock();
        prefixes.left.is_empty() && prefixes.being_removed.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Prefixes> {
        self.prefixes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::Orphaned;
    use std::sync::mpsc::channel;
    use std::thread;

    #[test]
    fn what_is_left_is_removed_by_one_and_remembered_where_that_fails() {
        let orphaned = Orphaned::default();
        orphaned.remember("a".to_owned());
        orphaned.remember("b".to_owned());
        assert!(orphaned.take("a") && !orphaned.take("a"));
        orphaned.remove_all(|prefix| {
            assert_eq!(prefix, "b");
            assert!(!orphaned.is_empty());
            false
        });
        assert!(!orphaned.is_empty());
        orphaned.remove_all(|_| true);
        assert!(orphaned.is_empty() && !orphaned.take("b"));
    }

    #[test]
    fn a_job_waits_while_its_names_are_being_removed() {
        let orphaned = Orphaned::default();
        orphaned.remember("a".to_owned());
        let (begun, has_begun) = channel();
        let (end, ends) = channel();
        thread::scope(|scope| {
            let orphaned = &orphaned;
            scope.spawn(move || {
                orphaned.remove_all(|_| {
                    begun.send(()).expect("heard");
                    ends.recv().is_ok()
                });
            });
            has_begun.recv().expect("begun");
            assert!(!orphaned.take("b"), "other names are free");
            let job = scope.spawn(|| orphaned.take("a"));
            assert!(!job.is_finished());
            end.send(()).expect("heard");
            assert!(!job.join().expect("no panic"), "nothing is left of them");
        });
    }
}
