//! Runs work on all cores, passes the results on in order, and limits how much is in memory.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::Result;

/// How many threads work at once.
#[must_use]
pub fn threads() -> usize {
    // With more threads, the disk or the receiver of the results is the bottleneck.
    thread::available_parallelism()
        .map_or(2, NonZero::get)
        .clamp(2, 8)
}

/// Runs the same work in several threads, and returns the first error.
///
/// # Errors
/// Those of `work`.
pub fn on_all_cores(work: impl Fn() -> Result<()> + Sync) -> Result<()> {
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads()).map(|_| scope.spawn(&work)).collect();
        let results = threads.into_iter().map(|thread| {
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        // Wait for all threads first: the scope does it in any case.
        results.collect::<Vec<_>>().into_iter().collect()
    })
}

struct State<I, O> {
    items: I,
    /// How many items were started.
    begun: usize,
    /// How many results were passed on.
    taken: usize,
    ready: BTreeMap<usize, Result<O>>,
    /// There are no more items.
    drained: bool,
    /// A worker or the receiver of the results failed.
    stopped: bool,
}

struct Shared<I, O> {
    state: Mutex<State<I, O>>,
    changed: Condvar,
}

impl<I, O> Shared<I, O> {
    fn lock(&self) -> MutexGuard<'_, State<I, O>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State<I, O>>) -> MutexGuard<'a, State<I, O>> {
        self.changed
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stops all workers if its thread panics, or if the receiver of the results ends.
struct StopOthers<'a, I, O>(&'a Shared<I, O>);

impl<I, O> Drop for StopOthers<'_, I, O> {
    fn drop(&mut self) {
        self.0.lock().stopped = true;
        self.0.changed.notify_all();
    }
}

/// Processes each item with a worker, of which each thread has one, and passes the results to `sink` in the items'
/// order.
///
/// # Errors
/// The first error of a worker, in the items' order, or of `sink`. No more items are started then.
pub fn ordered<I, T, O, W>(
    items: I,
    worker: impl Fn() -> Result<W> + Sync,
    mut sink: impl FnMut(O) -> Result<()>,
) -> Result<()>
where
    I: Iterator<Item = T> + Send,
    W: FnMut(T) -> Result<O>,
    O: Send,
{
    let count = threads();
    let shared = Shared {
        state: Mutex::new(State {
            items,
            begun: 0,
            taken: 0,
            ready: BTreeMap::new(),
            drained: false,
            stopped: false,
        }),
        changed: Condvar::new(),
    };
    thread::scope(|scope| {
        for _ in 0..count {
            scope.spawn(|| work(&shared, &worker, count * 2));
        }
        let _end = StopOthers(&shared);
        loop {
            let result = {
                let mut state = shared.lock();
                loop {
                    let next = state.taken;
                    if let Some(result) = state.ready.remove(&next) {
                        state.taken += 1;
                        break result;
                    }
                    if state.stopped || (state.drained && state.taken == state.begun) {
                        return Ok(());
                    }
                    state = shared.wait(state);
                }
            };
            shared.changed.notify_all();
            sink(result?)?;
        }
    })
}

fn work<I, T, O, W>(shared: &Shared<I, O>, worker: &impl Fn() -> Result<W>, window: usize)
where
    I: Iterator<Item = T>,
    W: FnMut(T) -> Result<O>,
{
    let guard = StopOthers(shared);
    let mut worker = worker();
    loop {
        let (number, item) = {
            let mut state = shared.lock();
            while !state.stopped && state.begun - state.taken >= window {
                state = shared.wait(state);
            }
            if state.stopped {
                break;
            }
            let Some(item) = state.items.next() else {
                state.drained = true;
                break;
            };
            state.begun += 1;
            (state.begun - 1, item)
        };
        let result = match &mut worker {
            Ok(worker) => worker(item),
            Err(error) => Err(anyhow::anyhow!("{error:#}")),
        };
        shared.lock().ready.insert(number, result);
        shared.changed.notify_all();
    }
    shared.changed.notify_all();
    // The guard has to stop the workers only if this thread panics.
    std::mem::forget(guard);
}

#[cfg(test)]
mod tests {
    use super::ordered;
    use anyhow::bail;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    #[test]
    fn results_come_in_order_and_few_wait() {
        let (begun, taken) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let mut seen = Vec::new();
        let worker = || {
            Ok(|item: usize| {
                begun.fetch_add(1, Ordering::SeqCst);
                if item.is_multiple_of(7) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                assert!(
                    begun.load(Ordering::SeqCst) - taken.load(Ordering::SeqCst)
                        <= super::threads() * 2 + 1
                );
                Ok(item * 2)
            })
        };
        ordered(0..500, worker, |double| {
            taken.fetch_add(1, Ordering::SeqCst);
            seen.push(double);
            Ok(())
        })
        .expect("no failure");
        assert_eq!(seen, (0..500).map(|item| item * 2).collect::<Vec<_>>());
        ordered(0..0, || Ok(|item: usize| Ok(item)), |_| Ok(())).expect("nothing to do");
    }

    #[test]
    fn the_first_failure_ends_it() {
        let worker = || {
            Ok(|item: usize| {
                if item >= 50 {
                    bail!("{item} is bad");
                }
                Ok(item)
            })
        };
        let mut seen = 0;
        let error = ordered(0.., worker, |_| {
            seen += 1;
            Ok(())
        })
        .expect_err("a bad item");
        assert_eq!((seen, error.to_string().as_str()), (50, "50 is bad"));
        let error = ordered(0.., || Ok(|item: usize| Ok(item)), |_| bail!("full"));
        assert_eq!(error.expect_err("full").to_string(), "full");
    }
}
