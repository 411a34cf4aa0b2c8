//! Man pages: section 1 has one for each command, from the definitions that `--help` shows; section 7 has one for each
//! topic of the manual.

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

/// A page, as its file has it.
struct Page {
    name: String,
    section: &'static str,
    text: String,
}

/// Writes all pages into `man1` and `man7` below a directory of man pages, such as `/usr/local/share/man`. `program` is
/// the whole command line, built; `settings` has options that many commands share, for a page of their own.
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
    let mut open = vec![program];
    while let Some(command) = open.pop() {
        pages.push(Page {
            name: command::name(command).to_owned(),
            section: COMMANDS,
            text: finished(&command::page(command, program, settings)?),
        });
        open.extend(command::visible(command));
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
    let own = program.get_name();
    let commands = topic.commands.iter();
    let commands = commands.map(|words| format!("{own}-{}", words.replace(' ', "-")));
    let commands = std::iter::once(own.to_owned()).chain(commands);
    page.text(references(commands.map(|name| (name, COMMANDS))));
    Page {
        text: finished(&page.render()),
        name,
        section: TEXTS,
    }
}
