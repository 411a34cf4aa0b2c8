//! Prints a plan as a shell script of docker commands that runs by itself, in any POSIX shell.
//!
//! The script does what [`crate::executor`] does, one thing after the other, and says the same
//! ([`crate::plan::lines`]). It recovers from nothing: what the executor does again where the engine went away or
//! something was removed, a person does by running the script again. What an archive of artifacts holds is not
//! unpacked into the checkout, and what follows the script has no time limit.
//!
//! [`head`] prints what the script needs and its functions, [`containers`] what the containers need, [`stages`] what
//! happens in them, and [`limits`] how long that may take. [`writer`] is what they have in common.

mod containers;
mod head;
mod limits;
mod stages;
mod writer;

use std::fmt::Write as _;

use crate::docker::Word;
use crate::docker::Words;
use crate::plan::Plan;
use crate::plan::lines;
use crate::plan::names::PREFIX;
use writer::Script;

/// The script. `prefix` is how its containers, network and volumes are called, before the process id.
#[must_use]
pub fn script(plan: &Plan, docker: &Words, job: &str, prefix: &str) -> String {
    let mut script = Script {
        plan,
        docker,
        text: String::new(),
    };
    script.head(job);
    script.secrets();
    let _ = writeln!(script.text, "{PREFIX}={}-$$", Word::from(prefix));
    script.functions();
    lines::opening(plan).for_each(|line| script.say(&line));
    plan.images.iter().for_each(|image| script.image(image));
    script.resources();
    script.services();
    script.fetch();
    script.waiting();
    script.build();
    script.finish();
    script.text
}

#[cfg(test)]
mod tests;
