//! Where the logs of a run go: one by itself as it is, several with each line behind its job's name.

use std::io::{self, ErrorKind, Read, Seek, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tempfile::SpooledTempFile;

use super::table::{padded, width};
use crate::cancel::{Cancel, Reason};
use crate::trace::terminal::Filter;

/// Longer lines are torn: no job may make the runner keep one without end.
const MAX_LINE: usize = 64 * 1024;
/// A log up to this size is kept in memory, a larger one in a file.
const IN_MEMORY: usize = 1024 * 1024;
/// How much of a log is copied, in megabytes: a job that prints for ever fills no disk.
const MAX_COPY: usize = 100;

/// Colours of names, told apart on light and dark ground. Red and green say how a job ended.
const COLOURS: &[&str] = &[
    "36", "33", "35", "34", "38;5;208", "38;5;37", "38;5;170", "38;5;67", "38;5;136", "38;5;99",
    "38;5;74", "38;5;132",
];

/// What is written to, by one at a time.
pub(super) struct Screen {
    out: Mutex<Out>,
    /// Whether it shows colours.
    pub colour: bool,
    /// Whether it is one that obeys what it is shown.
    terminal: bool,
}

/// What is written to, and a line below everything else that comes and goes.
pub(super) struct Out {
    sink: Box<dyn Write + Send>,
    status: String,
    /// The status is on the terminal.
    drawn: bool,
    /// What was written last has no line break at its end; then there is no room for a status.
    in_line: bool,
    /// Triggered when the reader has gone: what is written after that is dropped.
    gone: Cancel,
    no_reader: bool,
}

impl Out {
    /// Writes a text, for the holder of the screen.
    ///
    /// # Errors
    /// Those of the terminal or file behind it.
    pub fn write(&mut self, text: &[u8]) -> io::Result<()> {
        self.erase()?;
        self.put(text)?;
        if let Some(last) = text.last() {
            self.in_line = *last != b'\n';
        }
        self.draw()
    }

    /// Takes the line away, until something is written.
    ///
    /// # Errors
    /// Those of the terminal.
    pub fn erase(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.drawn) {
            self.put(b"\r\x1b[K")?;
        }
        Ok(())
    }

    /// Hands a text on. Where its reader has gone (`exec … | head`), the run is stopped, and nothing is complained of.
    fn put(&mut self, text: &[u8]) -> io::Result<()> {
        if self.no_reader {
            return Ok(());
        }
        match self.sink.write_all(text).and_then(|()| self.sink.flush()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.no_reader = true;
                self.gone.trigger(Reason::Canceled);
                Ok(())
            }
            written => written,
        }
    }

    fn draw(&mut self) -> io::Result<()> {
        if !self.status.is_empty() && !self.in_line {
            self.drawn = true;
            // At its begin again, so that what others write to the terminal covers it.
            self.put(format!("{}\r", self.status).as_bytes())?;
        }
        Ok(())
    }
}

impl Screen {
    /// A screen that triggers `gone` when its reader has gone.
    pub fn new(out: Box<dyn Write + Send>, colour: bool, gone: Cancel) -> Self {
        Self {
            out: Mutex::new(Out {
                gone,
                no_reader: false,
                sink: out,
                status: String::new(),
                drawn: false,
                in_line: false,
            }),
            colour,
            terminal: false,
        }
    }

    /// The same on a terminal, which obeys what it is shown.
    pub fn on_terminal(self, terminal: bool) -> Self {
        Self { terminal, ..self }
    }

    /// Keeps everybody else from writing, until it is dropped.
    pub fn lock(&self) -> MutexGuard<'_, Out> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the reader has gone.
    pub fn has_no_reader(&self) -> bool {
        self.lock().no_reader
    }

    /// Writes a text of whole lines at once.
    ///
    /// # Errors
    /// Those of the terminal or file behind it.
    pub fn write(&self, text: &[u8]) -> io::Result<()> {
        self.lock().write(text)
    }

    /// Shows a line below everything else, in place of the one before; an empty one is none.
    pub fn set_status(&self, status: &str) {
        let mut out = self.lock();
        let shown = out.erase().and_then(|()| {
            out.status = if self.colour && !status.is_empty() {
                format!("\x1b[2m{status}\x1b[0m")
            } else {
                status.to_owned()
            };
            out.draw()
        });
        if let Err(error) = shown {
            // The jobs' lines meet the same and end them.
            log::debug!("cannot write to the terminal: {error}");
        }
    }
}

/// A text without characters that would lead a terminal.
pub(super) fn sanitize(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// What stands before the lines of a job: its name, as wide as the widest.
pub(super) fn prefix(name: &str, widest: usize, index: usize, colour: bool) -> String {
    let name = padded(&sanitize(name), widest);
    if colour {
        format!("\x1b[{}m{name} |\x1b[0m ", COLOURS[index % COLOURS.len()])
    } else {
        format!("{name} | ")
    }
}

/// How wide the widest of the names is.
pub(super) fn widest<'a>(names: impl Iterator<Item = &'a str>) -> usize {
    names.map(|name| width(&sanitize(name))).max().unwrap_or(0)
}

/// A job's log on its way to the screen. Clones are the same log.
#[derive(Clone)]
pub(super) struct Log(Arc<Mutex<Inner>>);

struct Inner {
    screen: Arc<Screen>,
    /// Before each line. `None`: everything passes as it comes.
    prefix: Option<String>,
    /// What may do something to the terminal, where there is one.
    filter: Option<Filter>,
    /// A line that has not ended yet.
    line: Vec<u8>,
    /// Keeps the log back until it is known whether to show it.
    kept: Option<SpooledTempFile>,
    copy: Option<Copy>,
}

/// Has the same text, for a file that people read: what would lead a terminal is not in it, and no name before each line.
struct Copy {
    filter: Filter,
    file: SpooledTempFile,
    /// How many megabytes it may have.
    most: usize,
    /// How many bytes there is room for.
    room: usize,
}

impl Copy {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.room == 0 {
            return Ok(());
        }
        let mut text = Vec::with_capacity(bytes.len());
        self.filter.push(bytes, &mut text);
        let fits = text.len().min(self.room);
        self.room -= fits;
        self.file.write_all(&text[..fits])?;
        if self.room == 0 {
            let most = self.most;
            writeln!(
                self.file,
                "\n[the log is cut here: {most} MB of it are kept]"
            )?;
        }
        Ok(())
    }
}

impl Log {
    /// A log whose lines stand behind `prefix`; with `keep`, it is only shown by [`Log::show`].
    pub fn new(screen: &Arc<Screen>, prefix: Option<String>, keep: bool) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            screen: screen.clone(),
            filter: screen.terminal.then(|| Filter::new(prefix.is_none())),
            prefix,
            line: Vec::new(),
            kept: keep.then(|| tempfile::spooled_tempfile(IN_MEMORY)),
            copy: None,
        })))
    }

    /// From now on, all that is written goes to a copy too.
    pub fn copied(self) -> Self {
        self.copied_up_to(MAX_COPY)
    }

    fn copied_up_to(self, most: usize) -> Self {
        self.lock().copy = Some(Copy {
            filter: Filter::new(true),
            file: tempfile::spooled_tempfile(IN_MEMORY),
            most,
            room: most * 1_000_000,
        });
        self
    }

    /// The copy, to be read from its begin. There is none where there was no room for it.
    ///
    /// # Errors
    /// Those of the file that it is in.
    pub fn take_copy(&self) -> io::Result<Option<SpooledTempFile>> {
        let Some(Copy {
            mut filter,
            mut file,
            ..
        }) = self.lock().copy.take()
        else {
            return Ok(None);
        };
        let mut end = Vec::new();
        filter.finish(&mut end);
        file.write_all(&end)?;
        file.rewind()?;
        Ok(Some(file))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing follows: shows a line that never ended.
    ///
    /// # Errors
    /// Those of the screen.
    pub fn finish(&self) -> io::Result<()> {
        self.lock().finish()
    }

    /// Shows what was kept back.
    ///
    /// # Errors
    /// Those of the screen, and of the file that it was kept in.
    pub fn show(&self) -> io::Result<()> {
        let mut inner = self.lock();
        let Some(mut kept) = inner.kept.take() else {
            return Ok(());
        };
        kept.rewind()?;
        let mut buffer = vec![0; MAX_LINE];
        loop {
            match kept.read(&mut buffer)? {
                0 => return inner.finish(),
                n => inner.push(&buffer[..n])?,
            }
        }
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut inner = self.lock();
        inner.copy(bytes);
        inner.push(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        // Half a line waits for its end; everything else has been shown.
        Ok(())
    }
}

impl Inner {
    fn copy(&mut self, bytes: &[u8]) {
        let Some(copy) = &mut self.copy else { return };
        if let Err(error) = copy.write(bytes) {
            // The job is not to suffer from that.
            log::warn!("cannot write a copy of the job's log: {error}");
            self.copy = None;
        }
    }

    fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(kept) = &mut self.kept {
            return kept.write_all(bytes);
        }
        let Some(filter) = &mut self.filter else {
            return self.put(bytes);
        };
        let mut text = Vec::with_capacity(bytes.len());
        filter.push(bytes, &mut text);
        self.put(&text)
    }

    /// Shows what may be shown.
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(prefix) = &self.prefix else {
            return self.screen.write(bytes);
        };
        let mut text = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") || self.line.len() >= MAX_LINE {
                line(prefix, &self.line, self.screen.colour, &mut text);
                self.line.clear();
            }
        }
        self.screen.write(&text)
    }

    fn finish(&mut self) -> io::Result<()> {
        let mut text = Vec::new();
        if let Some(filter) = &mut self.filter {
            filter.finish(&mut text);
            // Lines behind a name end their colours by themselves.
            if self.prefix.is_some() {
                text.clear();
            }
        }
        if let Some(prefix) = self.prefix.as_ref().filter(|_| !self.line.is_empty()) {
            line(prefix, &self.line, self.screen.colour, &mut text);
            self.line.clear();
        }
        self.screen.write(&text)
    }
}

/// Adds a line behind its prefix. Of what was written over itself, the last state counts, and colours end with
/// their line.
fn line(prefix: &str, line: &[u8], colour: bool, text: &mut Vec<u8>) {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let begin = line
        .iter()
        .rposition(|byte| *byte == b'\r')
        .map_or(0, |at| at + 1);
    let line = &line[begin..];
    text.extend_from_slice(prefix.as_bytes());
    text.extend_from_slice(line);
    if colour && line.contains(&b'\x1b') {
        text.extend_from_slice(b"\x1b[0m");
    }
    text.push(b'\n');
}

#[cfg(test)]
mod tests;
