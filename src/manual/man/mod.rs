//! Man pages, in roff. Section 1 has one for each command, from the definitions that `--help` shows; section 7 has one
//! for each topic of the manual, and one for the options that many commands share.

mod command;
mod frame;
mod markdown;

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context as _, Result};
use clap::Command;
use clap_mangen::roff::{Roff, roman};

use super::{TOPICS, Topic};
use frame::{COMMANDS, MANUAL, NO_DATE, TEXTS, finished, references, source, topic_name};

/// A page and its place: `man<section>/<name>.<section>`.
struct Page {
    name: String,
    section: &'static str,
    /// The whole file, in roff.
    text: String,
}

/// Writes all pages into `man1` and `man7` below a directory of man pages, such as `/usr/local/share/man`; both are
/// made if they are missing. `program` is the whole command line, after [`Command::build`], which gives each command
/// its whole name. `settings` has the options that many commands share, as a command that does not exist.
///
/// # Errors
/// If a directory or a file cannot be written.
pub fn write(directory: &Path, program: &Command, settings: &Command) -> Result<()> {
    for section in [COMMANDS, TEXTS] {
        let path = directory.join(format!("man{section}"));
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
    }
    for page in pages(program, settings).context("cannot render the man pages")? {
        let Page { name, section, .. } = &page;
        let path = directory.join(format!("man{section}/{name}.{section}"));
        fs::write(&path, &page.text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn pages(program: &Command, settings: &Command) -> io::Result<Vec<Page>> {
    let mut pages = Vec::new();
    // Commands that have no page yet: the program, and then those below each.
    let mut without_page = vec![program];
    while let Some(command) = without_page.pop() {
        pages.push(Page {
            name: command::name(command).to_owned(),
            section: COMMANDS,
            text: finished(&command::page(command, program, settings)?),
        });
        without_page.extend(command::visible(command));
    }
    pages.extend(TOPICS.iter().map(|topic| topic_page(topic, program)));
    let name = topic_name(settings.get_name(), program);
    pages.push(Page {
        text: finished(&command::settings(settings, &name, program)?),
        name,
        section: TEXTS,
    });
    Ok(pages)
}

/// The page of a topic, with the text that `alloy-runner help TOPIC` shows.
fn topic_page(topic: &Topic, program: &Command) -> Page {
    let name = topic_name(topic.name, program);
    let mut page = Roff::new();
    page.control("TH", [&*name, TEXTS, NO_DATE, &source(program), MANUAL]);
    page.control("SH", ["NAME"]);
    page.text([roman(format!("{name} - {}", topic.summary))]);
    page.control("SH", ["DESCRIPTION"]);
    markdown::render(&mut page, topic.text, program);
    page.control("SH", ["SEE ALSO"]);
    let program_name = program.get_name();
    // The page of the command `helper-image build` is called `alloy-runner-helper-image-build`.
    let commands = topic.commands.iter();
    let commands = commands.map(|words| format!("{program_name}-{}", words.replace(' ', "-")));
    let commands = std::iter::once(program_name.to_owned()).chain(commands);
    page.text(references(commands.map(|name| (name, COMMANDS))));
    Page {
        text: finished(&page.render()),
        name,
        section: TEXTS,
    }
}
