//! A job's volumes as docker commands: how they are made, and how containers mount them.

use super::containers::Builder;
use super::parts::Resource;
use super::volumes::{Made, Mount};
use crate::docker::{DockerCommand, mount};

impl Builder<'_> {
    /// The job's volumes. `archives`: what only the helper mounts.
    pub fn volumes(&self, archives: Option<&Mount>) -> Vec<Resource> {
        let made = self
            .mounts
            .iter()
            .chain(archives)
            .filter_map(|mount| Some((mount, mount.made?)));
        made.map(|(mount, made)| {
            // Where a mode is wanted, `--volume` has to mount it, which gives no labels.
            let create = mount.mode.is_some().then(|| {
                let labels = self.labels(made.kind(), made.prefix(self.names));
                let create = Self::with(DockerCommand::volume_create(), labels);
                let create = match self.volume_driver(made) {
                    Some(driver) => create.option("--driver", driver),
                    None => create,
                };
                let options = self.volume_options(made);
                let create = options.fold(create, |create, (name, value)| {
                    create.option("--opt", format!("{name}={value}"))
                });
                create.operands(&mount.source, [""; 0])
            });
            Resource {
                name: mount.source.clone(),
                create,
                keep: made != Made::Job,
            }
        })
        .collect()
    }

    fn volume_driver(&self, made: Made) -> Option<&str> {
        let driver = self.config.docker.volume_driver.as_deref();
        driver.filter(|_| made != Made::Job)
    }

    /// Options of the driver, by which volumes that stay are made.
    fn volume_options(&self, made: Made) -> impl Iterator<Item = (&String, &String)> {
        let options = self.config.docker.volume_driver_ops.iter().flatten();
        options.filter(move |_| made != Made::Job)
    }

    /// The builds directory and the volumes, which every container of the job sees. Whichever comes first makes the
    /// volumes.
    pub fn mounted(&self, run: DockerCommand) -> DockerCommand {
        let mounts = self.mounts.iter();
        mounts.fold(run, |run, mount| self.mount(run, mount))
    }

    /// As [`Builder::mounted`], for the helper: what it works on, where it has it.
    pub fn mounted_in_helper(&self, run: DockerCommand) -> DockerCommand {
        let mounts = self.mounts.iter().enumerate();
        let mounts = mounts.filter_map(|(index, mount)| {
            let target = self.layout.in_helper(index, mount)?;
            Some(Mount {
                target,
                ..mount.clone()
            })
        });
        mounts.fold(run, |run, mount| self.mount(run, &mount))
    }

    pub fn mount(&self, run: DockerCommand, mount: &Mount) -> DockerCommand {
        match (mount.made, &mount.mode) {
            (Some(made), None) => {
                let labels = self.labels(made.kind(), made.prefix(self.names));
                let driver = self.volume_driver(made);
                run.option(
                    "--mount",
                    mount::volume(
                        &mount.source,
                        &mount.target,
                        driver,
                        self.volume_options(made),
                        &labels,
                    ),
                )
            }
            (_, mode) => {
                let mode = mode.iter().map(|mode| format!(":{mode}"));
                let mode: String = mode.collect();
                let target = format!(":{}{mode}", mount.target);
                run.option("--volume", mount.source.clone().then(target))
            }
        }
    }
}
