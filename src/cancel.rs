//! Telling running work to stop.
//!
//! No thread polls for it: a wait that can be cut short leaves a hook that cuts it.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, WaitTimeoutResult};
use std::time::Duration;

/// Why work is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A signal or the coordinator asked for it.
    Canceled,
    /// The runner itself has to stop.
    Stopped,
    /// The engine that it needs does not answer.
    NoEngine,
    /// The time allowed is over.
    TimedOut(Duration),
}

type Hook = Box<dyn Fn() + Send>;

#[derive(Default)]
struct State {
    reason: Option<Reason>,
    hooks: Vec<(u64, Hook)>,
    next: u64,
    done: bool,
    unlimited: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A handle on something that can be stopped once. Clones are the same handle.
#[derive(Clone, Default)]
pub struct Cancel(Arc<Shared>);

impl Cancel {
    /// A handle that is not triggered.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Stops what hangs on this handle. Only the first call counts.
    pub fn trigger(&self, reason: Reason) {
        let hooks = {
            let mut state = self.0.lock();
            let limit = matches!(reason, Reason::TimedOut(_));
            if state.reason.is_some() || state.done || limit && state.unlimited {
                return;
            }
            state.reason = Some(reason);
            std::mem::take(&mut state.hooks)
        };
        self.0.changed.notify_all();
        for (_, hook) in hooks {
            hook();
        }
    }

    /// Why it was stopped, if it was.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        self.0.lock().reason
    }

    /// Calls `hook` when this is triggered (at once if it was), until the guard is dropped.
    #[must_use]
    pub fn on_trigger(&self, hook: impl Fn() + Send + 'static) -> HookGuard {
        let mut state = self.0.lock();
        let id = state.next;
        if state.reason.is_some() {
            drop(state);
            hook();
        } else {
            state.next += 1;
            state.hooks.push((id, Box::new(hook)));
        }
        HookGuard {
            cancel: self.clone(),
            id,
        }
    }

    /// A handle of its own that this one triggers too, and that triggers itself after `limit`.
    #[must_use]
    pub fn child(&self, limit: Option<Duration>) -> CancelScope {
        let child = Cancel::new();
        let forward = child.clone();
        let parent = self.clone();
        let guard = self.on_trigger(move || {
            if let Some(reason) = parent.reason() {
                forward.trigger(reason);
            }
        });
        let timer = limit.map(|limit| {
            let child = child.clone();
            std::thread::spawn(move || child.trigger_after(limit))
        });
        CancelScope {
            cancel: child,
            _parent: guard,
            timer,
        }
    }

    /// Triggers this very handle after `limit`, unless what is returned is dropped before.
    #[must_use]
    pub fn triggered_after(&self, limit: Duration) -> CancelScope {
        let mut scope = self.child(None);
        let (waiting, whole) = (scope.cancel.clone(), self.clone());
        scope.timer = Some(std::thread::spawn(move || {
            if !waiting.is_over_within(limit) {
                whole.trigger(Reason::TimedOut(limit));
            }
        }));
        scope
    }

    /// A handle of its own that is triggered when this one has been for `grace`: for what should rather come to its
    /// end by itself.
    #[must_use]
    pub fn late(&self, grace: Duration) -> CancelScope {
        let child = Cancel::new();
        let forward = child.clone();
        let parent = self.clone();
        let guard = self.on_trigger(move || {
            if let Some(reason) = parent.reason() {
                let late = forward.clone();
                std::thread::spawn(move || {
                    if !late.is_over_within(grace) {
                        late.trigger(reason);
                    }
                });
            }
        });
        CancelScope {
            cancel: child,
            _parent: guard,
            timer: None,
        }
    }

    /// Waits until this is triggered or [finished](Self::finish), for at most this long, and returns whether it is.
    #[must_use]
    pub fn is_over_within(&self, limit: Duration) -> bool {
        !self.waited(limit).1.timed_out()
    }

    fn waited(&self, limit: Duration) -> (MutexGuard<'_, State>, WaitTimeoutResult) {
        let waiting = |state: &mut State| state.reason.is_none() && !state.done;
        let waited = self
            .0
            .changed
            .wait_timeout_while(self.0.lock(), limit, waiting);
        waited.unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits this long, or until this is triggered, and returns why it was.
    #[must_use]
    pub fn wait(&self, limit: Duration) -> Option<Reason> {
        self.waited(limit).0.reason
    }

    /// Waits until this is triggered or [finished](Self::finish), and returns why it was.
    #[must_use]
    pub fn wait_for_it(&self) -> Option<Reason> {
        let waiting = |state: &mut State| state.reason.is_none() && !state.done;
        let waited = self.0.changed.wait_while(self.0.lock(), waiting);
        waited.unwrap_or_else(PoisonError::into_inner).reason
    }

    /// What hangs on this handle is over: there is nothing left to stop, and those that wait go on.
    pub fn finish(&self) {
        self.0.lock().done = true;
        self.0.changed.notify_all();
    }

    /// From now on no time limit triggers this, neither its own nor one of a handle that it is a child of.
    pub fn lift_limit(&self) {
        self.0.lock().unlimited = true;
    }

    fn trigger_after(&self, limit: Duration) {
        // Of one that was triggered meanwhile, or that is done, this makes nothing.
        if self.wait(limit).is_none() {
            self.trigger(Reason::TimedOut(limit));
        }
    }
}

/// Keeps a hook of [`Cancel::on_trigger`] in place.
pub struct HookGuard {
    cancel: Cancel,
    id: u64,
}

impl Drop for HookGuard {
    fn drop(&mut self) {
        self.cancel.0.lock().hooks.retain(|(id, _)| *id != self.id);
    }
}

/// A child handle; its timer ends with it.
pub struct CancelScope {
    cancel: Cancel,
    _parent: HookGuard,
    timer: Option<std::thread::JoinHandle<()>>,
}

impl std::ops::Deref for CancelScope {
    type Target = Cancel;

    fn deref(&self) -> &Cancel {
        &self.cancel
    }
}

impl Drop for CancelScope {
    fn drop(&mut self) {
        self.cancel.finish();
        if let Some(timer) = self.timer.take() {
            // A timer that panicked has nothing left to stop.
            drop(timer.join());
        }
    }
}

/// [Finishes](Cancel::finish) handles when it is dropped: threads that wait for them go on, also after a panic.
pub struct FinishOnDrop<'a>(pub [&'a Cancel; 2]);

impl Drop for FinishOnDrop<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|cancel| cancel.finish());
    }
}

#[cfg(test)]
mod tests {
    use super::{Cancel, Reason};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::{Duration, Instant};

    #[test]
    fn hooks_run_once_and_only_while_guarded() {
        let cancel = Cancel::new();
        let count = Arc::new(AtomicUsize::new(0));
        let counted = |count: &Arc<AtomicUsize>| {
            let count = count.clone();
            move || {
                count.fetch_add(1, Ordering::SeqCst);
            }
        };
        drop(cancel.on_trigger(counted(&count)));
        let _kept = cancel.on_trigger(counted(&count));
        cancel.trigger(Reason::Canceled);
        cancel.trigger(Reason::Canceled);
        assert_eq!(count.load(Ordering::SeqCst), 1);
        let _late = cancel.on_trigger(counted(&count));
        assert_eq!(count.load(Ordering::SeqCst), 2, "a late hook runs at once");
    }

    #[test]
    fn a_child_ends_with_its_parent_or_by_its_limit_and_not_the_other_way_round() {
        let parent = Cancel::new();
        let limit = Duration::from_millis(20);
        let timed = parent.child(Some(limit));
        let begin = Instant::now();
        while timed.reason().is_none() && begin.elapsed() < Duration::from_secs(5) {
            std::thread::yield_now();
        }
        assert_eq!(timed.reason(), Some(Reason::TimedOut(limit)));
        assert_eq!(parent.reason(), None);
        let child = parent.child(Some(Duration::from_hours(1)));
        parent.trigger(Reason::Canceled);
        assert_eq!(child.reason(), Some(Reason::Canceled));
    }

    #[test]
    fn a_part_that_takes_too_long_ends_the_whole() {
        let whole = Cancel::new();
        drop(whole.triggered_after(Duration::from_hours(1)));
        assert_eq!(whole.reason(), None);
        let limit = Duration::from_millis(20);
        let part = whole.triggered_after(limit);
        assert_eq!(whole.wait_for_it(), Some(Reason::TimedOut(limit)));
        assert_eq!(part.wait_for_it(), Some(Reason::TimedOut(limit)));
    }

    #[test]
    fn a_limit_that_is_lifted_stops_nothing_and_a_signal_still_does() {
        let parent = Cancel::new();
        let limited = parent.child(Some(Duration::from_millis(5)));
        limited.lift_limit();
        assert_eq!(limited.wait(Duration::from_millis(50)), None);
        parent.trigger(Reason::Canceled);
        assert_eq!(limited.reason(), Some(Reason::Canceled));
    }

    #[test]
    fn a_late_one_has_its_grace_and_one_that_is_over_is_left_alone() {
        let parent = Cancel::new();
        let (late, over) = (
            parent.late(Duration::from_millis(30)),
            parent.late(Duration::from_millis(10)),
        );
        parent.trigger(Reason::Stopped);
        over.finish();
        assert_eq!(late.reason(), None);
        assert!(late.is_over_within(Duration::from_secs(5)));
        assert_eq!(late.reason(), Some(Reason::Stopped));
        assert_eq!(over.reason(), None);
        assert!(!Cancel::new().is_over_within(Duration::from_millis(5)));
    }

    #[test]
    fn a_pause_ends_with_its_time_or_by_being_canceled() {
        let cancel = Cancel::new();
        assert_eq!(cancel.wait(Duration::from_millis(5)), None);
        let other = cancel.clone();
        let waiting = std::thread::spawn(move || other.wait(Duration::from_hours(1)));
        cancel.trigger(Reason::Canceled);
        assert_eq!(waiting.join().expect("no panic"), Some(Reason::Canceled));
    }
}
