//! A client that runs, and what it prints meanwhile.

use std::io::{self, PipeReader, Read};
use std::thread;
use std::time::{Duration, Instant};

use duct::{Expression, Handle};

/// Room for what is printed and not read yet, in bytes: the most that Linux gives a process without rights.
const ROOM: usize = 1 << 20;
/// The largest piece that is read at once, in bytes.
const PIECE: usize = 256 << 10;
/// Output that comes faster than this is left to gather for so long. A reader that waits for each line is woken by
/// each, and holds up its writer: 100 MB took 0.3 s longer.
const GATHERING: Duration = Duration::from_millis(1);

/// What takes the output of a command while it runs.
pub type Output<'a> = &'a mut dyn FnMut(&[u8]) -> io::Result<()>;

/// How a command ended that ran in the foreground: its exit status, or none where a signal ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(pub Option<i32>);

/// A running client.
pub(super) struct Stream {
    process: Handle,
    output: PipeReader,
}

impl Stream {
    /// Starts it. What it prints to stdout is to be [read](Self::copy).
    pub fn start(process: &Expression) -> io::Result<Self> {
        let (output, stdout) = io::pipe()?;
        if let Err(error) = rustix::pipe::fcntl_setpipe_size(&output, ROOM) {
            // A user's pipes together have a limit; this one has the usual 64 KiB then.
            log::debug!("no larger pipe: {error}");
        }
        // The expression goes at once, and with it our hold of the pipe's other end.
        let process = process.stdout_file(stdout).start()?;
        Ok(Self { process, output })
    }

    /// Kills it.
    pub fn kill(&self) {
        // Failing to kill what has ended by itself is no failure.
        drop(self.process.kill());
    }

    /// How it ended, if it has.
    pub fn ended(&self) -> Option<Status> {
        let ended = self.process.try_wait().ok().flatten();
        ended.map(|output| Status(output.status.code()))
    }

    /// Hands what it prints to `output` until it ends.
    pub fn copy(&self, output: Output) -> io::Result<Status> {
        let mut piece = vec![0; PIECE];
        let mut before: Option<Instant> = None;
        loop {
            match (&self.output).read(&mut piece) {
                Ok(0) => return Ok(Status(self.process.wait()?.status.code())),
                Ok(n) => output(&piece[..n])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if before.is_some_and(|before| before.elapsed() < GATHERING) {
                thread::sleep(GATHERING);
            }
            before = Some(Instant::now());
        }
    }
}
