//! What a client prints, as a value: no more of it than fits, whatever prints it.

use std::io::{self, Read};
use std::process::ExitStatus;
use std::sync::Arc;
use std::thread;

use duct::{Expression, ReaderHandle};

use crate::cancel::Cancel;

/// The longest answer that is read, in bytes. A list of ten thousand containers is a tenth of it.
pub(super) const LONGEST: usize = 16 << 20;
/// How much is kept of the end of stderr and of logs, in bytes.
const END: usize = 64 << 10;

/// What a client printed, and how it ended.
pub(super) struct Captured {
    pub status: ExitStatus,
    /// To stdout.
    pub printed: Vec<u8>,
    /// The end of what it printed to stderr.
    pub stderr: Vec<u8>,
}

/// Runs a client to its end, or until `cancel` ends it. One that prints more than [`LONGEST`] is killed, and nothing of
/// it returned.
pub(super) fn run(process: &Expression, cancel: &Cancel) -> io::Result<Option<Captured>> {
    let (stderr, writer) = io::pipe()?;
    // The expression goes at once, and with it our hold of the pipe's other end.
    let process = Arc::new(process.stderr_file(writer).reader()?);
    let killed = process.clone();
    // Failing to kill what has ended by itself is no failure.
    let _guard = cancel.on_trigger(move || drop(killed.kill()));
    // By itself: what a killed client leaves running may hold it open until we let go of the other pipe.
    let stderr = thread::spawn(move || end_of(stderr));
    let mut printed = Vec::new();
    let read = (&*process)
        .take(LONGEST as u64 + 1)
        .read_to_end(&mut printed);
    let fits = printed.len() <= LONGEST;
    if !fits || read.is_err() {
        drop(process.kill());
        // To the end, where the client is waited for; a child of its own that goes on is left alone.
        drop(io::copy(
            &mut (&*process).take(LONGEST as u64),
            &mut io::sink(),
        ));
    }
    read?;
    if !fits {
        return Ok(None);
    }
    let stderr = stderr.join();
    Ok(Some(Captured {
        status: ended(&process)?,
        printed,
        stderr: stderr.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?,
    }))
}

/// Runs a client to its end and returns the end of what it printed, both streams.
pub(super) fn end(process: &Expression) -> io::Result<(ExitStatus, Vec<u8>)> {
    let process = process.stderr_to_stdout().reader()?;
    let end = end_of(&process)?;
    Ok((ended(&process)?, end))
}

fn ended(process: &ReaderHandle) -> io::Result<ExitStatus> {
    let output = process.try_wait()?;
    output
        .map(|output| output.status)
        .ok_or_else(|| io::Error::other("the client closed its output and did not end"))
}

/// Reads everything and keeps the end.
pub(super) fn end_of(mut from: impl Read) -> io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    let mut buffer = vec![0; END];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(kept),
            Ok(length) => {
                let over = (kept.len() + length).saturating_sub(END).min(kept.len());
                kept.drain(..over);
                kept.extend_from_slice(&buffer[..length]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{END, LONGEST, end, run};
    use crate::cancel::Cancel;
    use duct::{Expression, cmd};

    fn shell(text: &str) -> Expression {
        cmd!("sh", "-c", text).stdin_null().unchecked()
    }

    #[test]
    fn both_streams_and_the_status_come() {
        let captured = run(&shell("echo out; echo err >&2; exit 7"), &Cancel::new());
        let captured = captured.expect("ran").expect("short");
        assert_eq!(captured.printed, b"out\n");
        assert_eq!(captured.stderr, b"err\n");
        assert_eq!(captured.status.code(), Some(7));
    }

    #[test]
    fn what_never_ends_is_ended() {
        for endless in ["exec yes", "yes & exec sleep 1000"] {
            let captured = run(&shell(endless), &Cancel::new()).expect("ran");
            assert!(captured.is_none());
        }
        let most = format!("yes | head -c {LONGEST}");
        let captured = run(&shell(&most), &Cancel::new()).expect("ran");
        assert_eq!(
            captured.map(|captured| captured.printed.len()),
            Some(LONGEST)
        );
    }

    #[test]
    fn of_stderr_and_logs_the_end_is_kept() {
        let lines = "seq 1 100000; echo last";
        let captured = run(&shell(&format!("{{ {lines}; }} >&2")), &Cancel::new())
            .expect("ran")
            .expect("short");
        let (_, log) = end(&shell(lines)).expect("ran");
        for kept in [captured.stderr, log] {
            assert_eq!(kept.len(), END);
            assert!(kept.ends_with(b"\n100000\nlast\n"));
        }
    }
}
