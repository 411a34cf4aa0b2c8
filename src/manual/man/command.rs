//! The man page of a command. What `--help` shows of it comes from `clap_mangen`; exit statuses and references come
//! from the manual.

use std::io;

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::super::{TOPICS, topic};
use super::frame::{COMMANDS, MANUAL, NO_DATE, TEXTS, references, source, topic_name};
use super::markdown;

/// What indents a line below a heading, what parts a term from its meaning, and what stands before the rest of one.
const INDENT: &str = "  ";
const GAP: &str = "  ";
const FAR: &str = "          ";

/// The page of `command`, which is `program` or one below it. The definitions that roff needs are in it several times.
pub(super) fn page(command: &Command, program: &Command, settings: &Command) -> io::Result<String> {
    let man = Man::new(command.clone()).section(COMMANDS);
    let man = man.date(NO_DATE).source(source(program)).manual(MANUAL);
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if visible(command).next().is_some() {
        man.render_subcommands_section(&mut page)?;
    }
    let mut rest = Roff::new();
    // What follows the help of the program is the list of topics.
    if let Some(text) = command.get_after_help()
        && words(command).is_some()
    {
        after_help(&mut rest, &text.to_string());
    }
    exit_status(&mut rest, command, program);
    see_also(&mut rest, command, program, settings);
    rest.to_writer(&mut page)?;
    String::from_utf8(page).map_err(io::Error::other)
}

/// A page of options that many commands have.
pub(super) fn settings(settings: &Command, name: &str, program: &Command) -> io::Result<String> {
    let man = Man::new(settings.clone().display_name(name)).section(TEXTS);
    let man = man.date(NO_DATE).source(source(program)).manual(MANUAL);
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    let mut rest = Roff::new();
    rest.control("SH", ["SEE ALSO"]);
    let configuration = topic_name("configuration", program);
    let program = program.get_name().to_owned();
    rest.text(references([(program, COMMANDS), (configuration, TEXTS)]));
    rest.to_writer(&mut page)?;
    String::from_utf8(page).map_err(io::Error::other)
}

/// The commands below this one, without those for the runner's own use.
pub(super) fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    let below = command.get_subcommands();
    below.filter(|command| !command.is_hide_set())
}

/// The name of a command's page: `alloy-runner-helper-image-build`.
pub(super) fn name(command: &Command) -> &str {
    let name = command.get_display_name();
    name.unwrap_or_else(|| command.get_name())
}

/// The words behind the program's name that lead to a command, `helper-image build`; none for the program itself.
fn words(command: &Command) -> Option<&str> {
    let name = command.get_bin_name()?;
    name.split_once(' ').map(|(_, words)| words)
}

/// What follows the help of a command: headings, sentences, and indented lines, which are code unless a gap parts them
/// into a term and its meaning. A line that is indented far goes on with a meaning.
fn after_help(page: &mut Roff, text: &str) {
    let mut lines = text.lines().filter(|line| !line.is_empty()).peekable();
    while let Some(line) = lines.next() {
        let Some(indented) = line.strip_prefix(INDENT) else {
            match line.strip_suffix(':') {
                Some(heading) => page.control("SH", [&*heading.to_uppercase()]),
                None => page.control("PP", []).text([roman(line)]),
            };
            continue;
        };
        let (term, meaning) = match indented.split_once(GAP) {
            Some((term, meaning)) if !indented.starts_with(' ') => (term, meaning.trim_start()),
            _ if lines.peek().is_some_and(|line| line.starts_with(FAR)) => (indented, ""),
            _ => {
                let mut code = vec![indented];
                while let Some(line) = lines.next_if(|line| line.starts_with(INDENT)) {
                    code.push(&line[INDENT.len()..]);
                }
                markdown::code(page, &code);
                continue;
            }
        };
        page.control("TP", []).text([bold(term)]);
        if !meaning.is_empty() {
            page.text([roman(meaning)]);
        }
        while let Some(line) = lines.next_if(|line| line.starts_with(FAR)) {
            page.text([roman(line.trim_start())]);
        }
    }
}

/// The statuses of this command and of all commands, from the manual's page, which has a section for each command.
fn exit_status(page: &mut Roff, command: &Command, program: &Command) {
    let Some(statuses) = topic("exit-statuses") else {
        return;
    };
    let mut sections = statuses.text.split("\n## ");
    let of_all = sections.next().unwrap_or_default();
    let own = sections.find_map(|section| {
        let (heading, text) = section.split_once('\n')?;
        let mut commands = heading.split(", ");
        commands
            .any(|name| Some(name) == words(command))
            .then_some(text)
    });
    page.control("SH", ["EXIT STATUS"]);
    markdown::render_merged(page, &[own.unwrap_or_default(), of_all], program);
}

fn see_also(page: &mut Roff, command: &Command, program: &Command, settings: &Command) {
    let words = words(command);
    let above = words.map(|_| program.get_name().to_owned());
    let below = visible(command).map(|command| name(command).to_owned());
    let commands = above.into_iter().chain(below);
    let has_settings = settings.get_arguments().any(|setting| {
        command
            .get_arguments()
            .any(|own| own.get_id() == setting.get_id())
    });
    let topics = TOPICS
        .iter()
        .filter(|topic| words.is_none_or(|words| topic.commands.contains(&words)))
        .map(|topic| topic.name)
        .chain(has_settings.then(|| settings.get_name()));
    let topics = topics.map(|topic| topic_name(topic, program));
    page.control("SH", ["SEE ALSO"]);
    page.text(references(
        commands
            .map(|name| (name, COMMANDS))
            .chain(topics.map(|name| (name, TEXTS))),
    ));
}

#[cfg(test)]
mod tests {
    use super::after_help;
    use clap_mangen::roff::Roff;

    #[test]
    fn below_the_help_are_terms_with_their_meanings_and_code() {
        let text = "Signals:\n  \
                    SIGQUIT           end with the jobs that run\n  \
                    SIGTERM, SIGINT   stop the jobs;\n                    \
                    again: end at once\n\nExamples:\n  \
                    runner run \\\n    --name x\n\nA sentence.\n";
        let mut page = Roff::new();
        after_help(&mut page, text);
        let expected = ".SH SIGNALS\n\
                        .TP\n\\fBSIGQUIT\\fR\nend with the jobs that run\n\
                        .TP\n\\fBSIGTERM, SIGINT\\fR\nstop the jobs;\nagain: end at once\n\
                        .SH EXAMPLES\n\
                        .PP\n.RS 4\n.nf\nrunner run \\\\\n  \\-\\-name x\n.fi\n.RE\n\
                        .PP\nA sentence.\n";
        assert_eq!(page.to_roff(), expected);
    }
}
