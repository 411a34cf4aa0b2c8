//! The images of a job, each once, however many containers it is for.

use super::helper_image::HelperImage;
use crate::config::PullPolicy;
use crate::docker::{Reference, Slot};

/// An image to resolve to its id.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its name as the log shows it, with a tag.
    pub name: String,
    /// Each stands for its id: every container of it has one.
    pub slots: Vec<Slot>,
    /// How to get it.
    pub source: ImageSource,
}

/// Where an image comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageSource {
    /// One that is pulled from a registry.
    Pull {
        /// The registry it is in.
        registry: String,
        /// What of it, and when.
        wanted: Pulling,
    },
    /// The runner's own: built where it is missing.
    Build(HelperImage),
}

/// How an image is to be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulling {
    /// When to pull it, tried in turn.
    pub policies: Vec<PullPolicy>,
    /// The platform that it has to be for, where that need not be the engine's: `linux/arm64`.
    pub platform: Option<String>,
}

/// Images as they are gathered.
#[derive(Default)]
pub(super) struct Images {
    pub found: Vec<Image>,
}

impl Images {
    /// A container needs an image of a registry.
    pub fn pull(&mut self, image: &Reference, wanted: &Pulling, slot: Slot) {
        let name = image.to_string();
        let source = ImageSource::Pull {
            registry: image.registry().to_owned(),
            wanted: wanted.clone(),
        };
        let same = |image: &&mut Image| image.name == name && image.source == source;
        match self.found.iter_mut().find(same) {
            Some(image) => image.slots.push(slot),
            None => self.found.push(Image {
                name,
                slots: vec![slot],
                source,
            }),
        }
    }

    /// The helper needs the runner's own.
    pub fn build(&mut self, image: &HelperImage, slot: Slot) {
        self.found.push(Image {
            name: image.name.clone(),
            slots: vec![slot],
            source: ImageSource::Build(image.clone()),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::{Images, Pulling};
    use crate::config::PullPolicy;
    use crate::docker::{Reference, Slot};

    #[test]
    fn an_image_of_several_containers_is_there_once() {
        let mut images = Images::default();
        for (name, platform, policy, slot) in [
            ("a", None, PullPolicy::Always, "build"),
            ("b:1", None, PullPolicy::Always, "s0"),
            ("a:latest", None, PullPolicy::Always, "s1"),
            ("b:1", None, PullPolicy::Always, "s2"),
            ("b:1", Some("linux/arm64"), PullPolicy::Always, "s3"),
            ("b:1", None, PullPolicy::Never, "s4"),
        ] {
            let wanted = Pulling {
                policies: vec![policy],
                platform: platform.map(str::to_owned),
            };
            let image = Reference::parse(name).expect("a name");
            images.pull(&image, &wanted, Slot::new(slot));
        }
        let found = images.found.iter().map(|image| {
            let slots: Vec<_> = image.slots.iter().map(Slot::name).collect();
            format!("{} {}", image.name, slots.join(" "))
        });
        assert_eq!(
            found.collect::<Vec<_>>(),
            ["a:latest build s1", "b:1 s0 s2", "b:1 s3", "b:1 s4"]
        );
    }
}
