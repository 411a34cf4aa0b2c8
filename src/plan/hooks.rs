//! A job's commands around its sources: GitLab's `hooks`.
//!
//! They run in the helper, where the sources are fetched, but as a user of their own, and end before anything else runs
//! there: what the helper is told (tokens, addresses of caches, a proxy's password), its git and the archives of caches
//! are out of their reach. They see the job's variables, and the sources.

use super::containers::{Builder, set};
use super::stage::{Failure, HelperStage, StageKind};
use crate::docker::{DockerCommand, Word};
use crate::script::{BuildScript, EnvFile};

/// A user and a group that own nothing.
const USER: &str = "65534:65534";
/// Where such a user can write.
const HOME: &str = "/tmp";
/// The shell of the commands in one that ends what they left in the background: all that this user may end.
const SHELL: &str = "sh; status=$?; kill -KILL -1 2>/dev/null; exit $status";

impl Builder<'_> {
    /// The stages before and after the sources are fetched. None where they are not.
    pub fn hooks(&self) -> [Option<HelperStage>; 2] {
        let hooks = &self.job.hooks;
        let has_sources = !["none", "empty"].contains(&self.settings.git.strategy);
        let hook = |kind, commands: &[String], directory| {
            let wanted = has_sources && !commands.is_empty();
            wanted.then(|| self.hook(kind, commands, directory))
        };
        [
            hook(StageKind::PreGetSources, &hooks.pre_get_sources, HOME),
            hook(
                StageKind::PostGetSources,
                &hooks.post_get_sources,
                &self.layout.directory,
            ),
        ]
    }

    fn hook(&self, kind: StageKind, commands: &[String], directory: &str) -> HelperStage {
        let exec = DockerCommand::exec().option("--user", USER);
        // Its own settings of git, and not the helper's.
        let exec = self
            .tell_git(exec)
            .env("HOME", HOME)
            .env("GIT_CONFIG_GLOBAL", &format!("{HOME}/.gitconfig"));
        // Files with the values of others are not there yet.
        let variables = self.variables.iter().filter(|variable| !variable.file);
        let exec = variables.fold(exec, set);
        let script = BuildScript {
            commands,
            directory,
            renamed: &self.renamed,
            trace: self.settings.trace,
            colour: self.host.colour,
            env_file: EnvFile::Unread,
            ..BuildScript::default()
        };
        // The user of the build has to be able to write to what they make.
        let script = Word::from("umask 0000\n").then(script.text());
        let command = exec.operands(self.names.container("helper"), ["sh", "-c", SHELL]);
        HelperStage {
            failure: Failure::Job,
            ..HelperStage::new(kind, command, script)
        }
    }
}
