//! What the helper's script for the sources is told.

use super::containers::Builder;
use crate::job::Origin;
use crate::job::files::Kind;
use crate::script::{CHANGES_DIR, CHECKOUT_DIR, GetSources};

impl Builder<'_> {
    /// What the helper's script for the sources has to know.
    pub fn sources<'b>(&'b self, open: &'b [String], kept: &'b [String]) -> GetSources<'b> {
        let is_gitlabs = self.job.kind() == Kind::GitLab;
        let git = &self.settings.git;
        let mut changes = "";
        let origin = &self.job.sources.origin;
        let (url, local, remote, refspecs) = match origin {
            Origin::Checkout {
                remote,
                changes: uncommitted,
                ..
            } => {
                if uncommitted.is_some() {
                    changes = CHANGES_DIR;
                }
                let remote = remote.as_deref().unwrap_or(CHECKOUT_DIR);
                (CHECKOUT_DIR, true, remote, &[][..])
            }
            Origin::Remote { remote, refspecs } => {
                let address = remote.address.as_str();
                (address, false, address, &refspecs[..])
            }
        };
        let (site, authorization) = match origin {
            Origin::Remote { remote, .. } => (remote.site.as_str(), remote.authorization()),
            Origin::Checkout { .. } => ("", None),
        };
        GetSources {
            strategy: git.strategy,
            directory: &self.layout.directory,
            open,
            kept,
            url,
            local,
            remote,
            refspecs,
            by_refspecs: is_gitlabs && !refspecs.is_empty(),
            site,
            authorization,
            proxies: &self.host.proxies,
            changes,
            sha: &self.job.sources.sha,
            ref_name: &self.job.sources.ref_name,
            depth: git.depth,
            checkout: git.checkout,
            fetch_options: &git.fetch_options,
            clone_options: &git.clone_options,
            clean_options: git.clean_options.as_deref(),
            submodules: git.submodules,
            submodule_depth: git.submodule_depth,
            submodule_options: &git.submodule_options,
            submodule_paths: &git.submodule_paths,
            temporary: if is_gitlabs {
                self.layout.temporary()
            } else {
                String::new()
            },
            settings: self.addresses(),
            job_settings: self.job_settings(),
            certificates: "",
            before: "",
            after: "",
        }
    }
}
