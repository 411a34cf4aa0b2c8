//! Uploads artifacts, and downloads those of other jobs.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::thread;

use anyhow::{Context, Result, anyhow};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::archive::limit::Limit;
use super::archive::select::Selected;
use super::archive::tree::Tree;
use super::archive::unpack::Target;
use super::archive::{gzipped, unzip, zipped};
use super::multipart::{form, pipe};
use super::progress::contents;
use super::task::{Download, Format, Receiver, Source, Upload};
use super::transfer::{Address, Client, REDIRECTS, Refused, attempts, too_far};

/// How often an upload is tried.
const UPLOADS: u32 = 4;

/// Archives and uploads artifacts of a job. If there are none, nothing is sent.
///
/// # Errors
/// [`Refused`] if the coordinator refuses them; others if the archive cannot be made or sent.
pub fn upload(task: &Upload) -> Result<()> {
    eprintln!("Uploading artifacts {}...", task.name);
    let project = task.project.open()?;
    let mut selected = task.files.select(&project)?;
    if task.format != Format::Zip {
        selected.keep_files();
    }
    for warning in &selected.warnings {
        eprintln!("WARNING: {warning}");
    }
    if selected.excluded > 0 {
        eprintln!("  {} excluded", selected.excluded);
    }
    if selected.entries.is_empty() {
        eprintln!("WARNING: there are no artifacts: nothing was selected");
        return Ok(());
    }
    if task.format == Format::Raw && selected.entries.len() > 1 {
        return Err(anyhow!(Refused(format!(
            "raw artifacts are one file, and these are {}: name one, or take another format",
            selected.entries.len()
        ))));
    }
    match &task.to {
        None => write(task, &project, &selected, &mut io::stdout().lock())?,
        Some(receiver) => {
            let client = Client::new(&task.certificates, &task.proxies)?;
            attempts(UPLOADS, || {
                // Each time from the beginning: what a coordinator sends on to is not good for long.
                let mut address = Address::new(&receiver.address(), Some(&receiver.token))?;
                for _ in 0..=REDIRECTS {
                    match send(task, &project, &selected, &address, &client)? {
                        Some(next) => address = next,
                        None => return Ok(()),
                    }
                }
                Err(too_far())
            })?;
        }
    }
    eprintln!("  {}", contents(selected.files(), selected.bytes()));
    Ok(())
}

fn write(task: &Upload, project: &Tree, selected: &Selected, out: &mut impl Write) -> Result<()> {
    let mut out = BufWriter::with_capacity(256 * 1024, out);
    let entries = &selected.entries;
    let warnings = match task.format {
        Format::Zip => zipped::write(task.level, project, entries, &mut out),
        Format::Gzip => gzipped::write(task.level, project, entries, &mut out),
        Format::Raw => gzipped::write_plain(project, entries, &mut out),
    };
    for warning in warnings? {
        eprintln!("WARNING: {warning}");
    }
    out.flush().context("cannot write the archive")
}

/// Makes the archive and sends it at the same time. `Some`: it is to be sent there.
fn send<'t>(
    task: &Upload,
    project: &Tree,
    selected: &Selected,
    address: &Address<'t>,
    client: &Client,
) -> Result<Option<Address<'t>>> {
    let (mut writer, reader) = pipe();
    let form = form(&task.name, task.format.media_type(), reader);
    thread::scope(|scope| {
        let archive = scope.spawn(move || {
            write(task, project, selected, &mut writer)?;
            writer
                .finish()
                .context("the reader of the archive has gone")
        });
        let sent = client.post(address, &form.content_type, form.body);
        let archived = archive
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match (sent, archived) {
            (Ok(next), _) => Ok(next),
            // A server that refuses closes the connection, which makes the archive fail too: the refusal is the cause.
            (Err(sent), Err(archived)) if !sent.is::<Refused>() && !is_unheard(&archived) => {
                Err(archived)
            }
            (Err(sent), _) => Err(sent),
        }
    })
}

/// Whether an archive could not be written because the reader had gone.
fn is_unheard(error: &anyhow::Error) -> bool {
    let broken = |cause: &(dyn std::error::Error + 'static)| {
        let error = cause.downcast_ref::<io::Error>();
        error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    };
    error.chain().any(broken)
}

impl Receiver {
    /// The address with the parameters of the upload.
    fn address(&self) -> String {
        let encoded = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
        let about = self.about.iter().enumerate();
        about.fold(self.url.clone(), |address, (index, (name, value))| {
            let between = if index == 0 { '?' } else { '&' };
            // The names are the runner's own.
            format!("{address}{between}{name}={}", encoded(value))
        })
    }
}

/// Downloads and unpacks the artifacts of other jobs, one job after the other.
///
/// # Errors
/// [`Refused`] if the coordinator refuses them; others if they cannot be downloaded or unpacked.
pub fn download(task: &Download) -> Result<()> {
    if task.from.is_empty() {
        let mut archive =
            tempfile::tempfile().context("cannot write to the temporary directory")?;
        io::copy(&mut io::stdin().lock(), &mut archive).context("cannot read the archive")?;
        return unpack(task, archive);
    }
    let client = Client::new(&task.certificates, &task.proxies)?;
    for source in &task.from {
        eprintln!("Downloading artifacts of {}...", source.job);
        let archive = attempts(task.attempts, || fetch(source, &client))
            .with_context(|| format!("the artifacts of {} cannot be fetched", source.job))?;
        unpack(task, archive)
            .with_context(|| format!("the artifacts of {} cannot be used", source.job))?;
    }
    Ok(())
}

fn fetch(source: &Source, client: &Client) -> Result<File> {
    let mut download = client
        .get(Address::new(&source.url, Some(&source.token))?)?
        .ok_or_else(|| {
            anyhow!(Refused(
                "the server has none: they have expired, or the job left none".to_owned()
            ))
        })?;
    let mut archive = tempfile::tempfile().context("cannot write to the temporary directory")?;
    io::copy(&mut download.body, &mut archive).context("the download broke off")?;
    Ok(archive)
}

fn unpack(task: &Download, archive: File) -> Result<()> {
    let length = archive.metadata()?.len();
    let limit = Limit::new(task.limit, length);
    let target = Target::new(task.project.make()?, limit);
    let unpacked = unzip::read(archive, target)?;
    eprintln!("  {}", contents(unpacked.files, unpacked.bytes));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Receiver;

    #[test]
    fn the_coordinators_words_are_sent_as_they_are() {
        let receiver = Receiver {
            url: "http://h/jobs/1/artifacts".to_owned(),
            token: String::new(),
            about: [("expire_in", "1 week & 2 d"), ("artifact_type", "junit")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec(),
        };
        assert_eq!(
            receiver.address(),
            "http://h/jobs/1/artifacts?expire_in=1%20week%20%26%202%20d&artifact_type=junit"
        );
    }
}
