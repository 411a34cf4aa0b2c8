//! A job request: it has a thread of its own, which becomes the job's if there is one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::{io, thread};

use super::event::{Event, request};
use super::serving::Serving;
use crate::cancel::Cancel;
use crate::state::Slot;
use crate::worker::pool::Lease;

/// What is taken for a job before its coordinator is asked.
pub(super) struct Taken {
    /// Under `concurrent` and the runner's `limit`.
    pub slots: Vec<Slot>,
    pub engine: Lease,
}

/// A request that is to be made.
pub(super) struct Request {
    /// The runner's number.
    pub number: u64,
    pub serving: Arc<Serving>,
    /// What the last answer said.
    pub last_update: Option<String>,
    pub taken: Taken,
    /// Stops the job.
    pub stop: Cancel,
    /// As in [`Serving::run`].
    pub hurry: Cancel,
    pub sender: Sender<Event>,
}

impl Request {
    /// Begins it.
    ///
    /// # Errors
    /// If there can be no thread.
    pub fn begin(self) -> io::Result<()> {
        let thread = thread::Builder::new().name("job".to_owned());
        thread.spawn(move || self.run()).map(drop)
    }

    fn run(self) {
        let Self {
            number,
            serving,
            taken,
            ..
        } = self;
        // As soon as the deciding thread is told of the end of the last job, it may end the process. So this thread drops
        // its `serving` and its engine before: the last one to go takes the process out of the state directory.
        let _entered = serving.context().enter();
        // It fails only if the deciding thread has ended, and then there is nothing left to decide.
        let tell = |event| drop(self.sender.send(event));
        let (answer, job) = request(&serving, self.last_update.as_deref());
        // Without a job, what was taken is given back before that is told, too.
        let job = job.map(|payload| (serving, taken, payload));
        tell(Event::Answered(number, answer));
        if let Some((serving, mut taken, payload)) = job {
            let ran = || serving.run(*payload, &mut taken.engine, &self.stop, &self.hurry);
            if catch_unwind(AssertUnwindSafe(ran)).is_err() {
                log::error!("the runner has a bug, please report it: the job's thread panicked");
            }
            let Taken { slots, engine } = taken;
            drop((slots, engine, serving));
            tell(Event::Ended);
        }
    }
}
