//! A form with a file (`multipart/form-data`) that is sent while the file is being made.

use std::io::{self, Cursor, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use uuid::Uuid;

/// The size of a chunk, and how many chunks may be in the pipe before the writer waits.
const CHUNK: usize = 256 * 1024;
const WAITING: usize = 8;

/// The form's body and its `Content-Type`.
pub struct Form<R> {
    /// The type, with the boundary in it.
    pub content_type: String,
    /// The body.
    pub body: R,
}

/// A form with one field, `file`, whose contents are of this type.
pub fn form(file_name: &str, media_type: &str, contents: impl Read) -> Form<impl Read> {
    let boundary = Uuid::new_v4().simple();
    // Escaped as browsers do it (HTML standard, "multipart/form-data").
    let file_name = file_name.replace('"', "%22").replace(char::is_control, "_");
    let head = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{file_name}\"\r\n\
         Content-Type: {media_type}\r\n\r\n"
    );
    let tail = format!("\r\n--{boundary}--\r\n");
    Form {
        content_type: format!("multipart/form-data; boundary={boundary}"),
        body: Cursor::new(head).chain(contents).chain(Cursor::new(tail)),
    }
}

/// A pipe between two threads. Unlike a pipe of the system, it tells the reader whether the writer finished or failed.
pub fn pipe() -> (PipeWriter, PipeReader) {
    let (sender, receiver) = sync_channel(WAITING);
    let writer = PipeWriter {
        sender,
        chunk: Vec::new(),
    };
    let reader = PipeReader {
        receiver,
        chunk: Cursor::default(),
        ended: false,
    };
    (writer, reader)
}

/// The writing end of a [`pipe`].
pub struct PipeWriter {
    sender: SyncSender<Option<Vec<u8>>>,
    chunk: Vec<u8>,
}

impl PipeWriter {
    /// Tells the reader that all has been written.
    ///
    /// # Errors
    /// If the reader has gone.
    pub fn finish(mut self) -> io::Result<()> {
        self.send()?;
        self.sender
            .send(None)
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn send(&mut self) -> io::Result<()> {
        let chunk = std::mem::take(&mut self.chunk);
        if chunk.is_empty() {
            return Ok(());
        }
        self.sender
            .send(Some(chunk))
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for PipeWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.chunk.extend_from_slice(bytes);
        if self.chunk.len() >= CHUNK {
            self.send()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}

/// The reading end of a [`pipe`].
pub struct PipeReader {
    receiver: Receiver<Option<Vec<u8>>>,
    chunk: Cursor<Vec<u8>>,
    ended: bool,
}

impl Read for PipeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let length = self.chunk.read(buffer)?;
            if length > 0 || self.ended || buffer.is_empty() {
                return Ok(length);
            }
            match self.receiver.recv() {
                Ok(Some(chunk)) => self.chunk = Cursor::new(chunk),
                Ok(None) => self.ended = true,
                Err(_) => return Err(io::Error::other("what was to be sent could not be made")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{form, pipe};
    use std::io::{Read, Write};

    #[test]
    fn a_form_has_one_file() {
        let mut form = form("a\"b.zip", "application/zip", &b"contents"[..]);
        let mut body = String::new();
        form.body.read_to_string(&mut body).expect("memory");
        let boundary = form
            .content_type
            .split("boundary=")
            .nth(1)
            .expect("a boundary");
        assert_eq!(
            body,
            format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a%22b.zip\"\r\n\
                 Content-Type: application/zip\r\n\r\ncontents\r\n--{boundary}--\r\n"
            )
        );
    }

    #[test]
    fn a_pipe_that_was_not_finished_is_no_end() {
        for finished in [true, false] {
            let (mut writer, mut reader) = pipe();
            let thread = std::thread::spawn(move || {
                for _ in 0..10_000 {
                    writer.write_all(&[7; 1000]).expect("read");
                }
                if finished {
                    writer.finish().expect("read");
                }
            });
            let mut all = Vec::new();
            let read = reader.read_to_end(&mut all);
            assert_eq!(read.is_ok(), finished);
            assert!(!finished || all.len() == 10_000_000);
            thread.join().expect("no panic");
        }
    }
}
