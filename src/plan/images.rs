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
#[derive(Clone, Debug)]
pub enum ImageSource {
    /// One that is pulled from a registry.
    Pull {
        /// The registry it is in.
        registry: String,
        /// When to pull it, tried in turn.
        policies: Vec<PullPolicy>,
    },
    /// The runner's own: built where it is missing.
    Build(HelperImage),
}

/// Images as they are gathered.
pub(super) struct Images {
    policies: Vec<PullPolicy>,
    pub found: Vec<Image>,
}

impl Images {
    /// None yet; those to come are pulled when these policies say.
    pub fn new(policies: Vec<PullPolicy>) -> Self {
        Self {
            policies,
            found: Vec::new(),
        }
    }

    /// A container needs an image of a registry.
    pub fn pull(&mut self, image: &Reference, slot: Slot) {
        let name = image.to_string();
        match self.found.iter_mut().find(|image| image.name == name) {
            Some(image) => image.slots.push(slot),
            None => self.found.push(Image {
                name,
                slots: vec![slot],
                source: ImageSource::Pull {
                    registry: image.registry().to_owned(),
                    policies: self.policies.clone(),
                },
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
    use super::Images;
    use crate::docker::{Reference, Slot};

    #[test]
    fn an_image_of_several_containers_is_there_once() {
        let mut images = Images::new(Vec::new());
        for (name, slot) in [
            ("a", "build"),
            ("b:1", "s0"),
            ("a:latest", "s1"),
            ("b:1", "s2"),
        ] {
            images.pull(&Reference::parse(name).expect("a name"), Slot::new(slot));
        }
        let found = images.found.iter().map(|image| {
            let slots: Vec<_> = image.slots.iter().map(Slot::name).collect();
            format!("{} {}", image.name, slots.join(" "))
        });
        assert_eq!(
            found.collect::<Vec<_>>(),
            ["a:latest build s1", "b:1 s0 s2"]
        );
    }
}
