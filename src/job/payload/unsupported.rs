//! What a payload may ask for that this runner cannot do. A job that was run without it would succeed having done less than
//! its author wants: it fails, and names what is missing.

use super::Payload;
use crate::outcome::InputError;

/// How many names a message shows.
const SHOWN: usize = 10;

impl Payload {
    /// # Errors
    /// [`InputError`] that names what this runner cannot do.
    pub(super) fn check_supported(&self) -> Result<(), InputError> {
        let refused = |what: String| Err(InputError::new(format!("the job cannot be run: {what}")));
        // A string of JSON; `None` for another form of it.
        let run = self.run.as_deref().map(str::trim);
        if !matches!(run, Some("" | "[]" | "null")) {
            let what = "it has steps in `run`, which this runner cannot run; give it a `script`";
            return refused(what.to_owned());
        }
        if !self.secrets.is_empty() {
            let shown = self.secrets.iter().take(SHOWN);
            let shown: Vec<String> = shown.map(|name| name.escape_debug().to_string()).collect();
            let more = if self.secrets.len() > SHOWN {
                ", …"
            } else {
                ""
            };
            return refused(format!(
                "it has secrets that this runner cannot fetch (`secrets`): {}{more}; make them variables of the project",
                shown.join(", ")
            ));
        }
        if self.steps.iter().flatten().next().is_none() {
            return refused("it has neither `steps` nor `run`: there is nothing to run".to_owned());
        }
        Ok(())
    }
}
