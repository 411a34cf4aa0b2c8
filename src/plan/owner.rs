//! The owner of the sources. Usually all users may write to them. With GitLab's
//! `FF_DISABLE_UMASK_FOR_DOCKER_EXECUTOR` they belong to the user of the build alone, as `id` in the image names it.

use super::chosen::{BuildImage, with_choice};
use super::containers::Builder;
use super::options;
use super::stage::{Asked, Errand, HelperStage, StageKind};
use crate::docker::{DockerCommand, Slot, Word};

/// What stands for `UID:GID` in the stage's script.
const OWNER: &str = "owner";
/// Prints it.
const ASK: &str = r#"printf '%s:%s' "$(id -u)" "$(id -g)""#;
/// Gives the directories `$@` away, without following links, and takes from others what the helper has let them do.
const GIVE: &str = r#"set -e
for path; do
[ -e "$path" ] || continue
find "$path" -exec chown -h "$owner" {} +
find "$path" ! -type l -exec chmod go-w {} +
done
"#;

impl Builder<'_> {
    /// The last stage before the script, where the job wants its sources for its user alone.
    pub fn give_sources(&self, chosen: &BuildImage) -> Option<HelperStage> {
        if !self.settings.user_owns_sources {
            return None;
        }
        let name = self.names.container("user");
        let run = DockerCommand::run(&name)
            .flag("--rm")
            .option("--log-driver", "none")
            .option("--network", "none")
            .option("--entrypoint", "");
        // What the image runs is restricted as in the build.
        let run = options::build(
            &self.config.docker,
            &chosen.image.to_string(),
            self.labelled(run, "helper"),
        );
        let run = with_choice(run, &chosen.pulling, chosen.user.as_deref());
        let run = run.operands(Slot::new("image_build"), ["sh", "-c", ASK]);
        let directories = [self.layout.directory.clone(), self.layout.temporary()];
        let command = DockerCommand::exec().operands(
            self.names.container("helper"),
            ["sh", "-s", "--"]
                .map(str::to_owned)
                .into_iter()
                .chain(directories),
        );
        let script = Word::from("owner=").then(Slot::new(OWNER)).then("\n");
        Some(HelperStage {
            asked: Some(Asked {
                slot: Slot::new(OWNER),
                errand: Errand { name, run },
            }),
            ..HelperStage::new(StageKind::GiveSources, command, script.then(GIVE))
        })
    }
}
