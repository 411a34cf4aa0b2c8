//! The secrets of one job: one list, by which both logs are masked, the job's own and the runner's lines about the job.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::mask::Masker;
use super::tokens::Tokens;
use crate::secret::Secret;

/// What must not be shown of a job. It is known bit by bit: the tokens and the values of variables when the job comes, what
/// they expand to and what signs its requests when it is planned. Clones share the list.
#[derive(Clone)]
pub struct JobSecrets(Arc<Mutex<Known>>);

struct Known {
    list: Vec<Secret>,
    tokens: Tokens,
    masker: Masker,
}

impl JobSecrets {
    /// These secrets, to begin with, and all tokens that can be known as such.
    #[must_use]
    pub fn new(list: Vec<Secret>, tokens: Tokens) -> Self {
        let masker = Masker::new(&list).with_tokens(&tokens);
        let known = Known {
            list,
            tokens,
            masker,
        };
        Self(Arc::new(Mutex::new(known)))
    }

    /// Adds secrets. Maskers that were made before do not know them.
    pub fn add(&self, more: &[Secret]) {
        let mut known = self.lock();
        let list: Vec<Secret> = known.list.iter().chain(more).cloned().collect();
        known.masker = Masker::new(&list).with_tokens(&known.tokens);
        known.list = list;
    }

    /// A masker of what is known now, for a log.
    #[must_use]
    pub fn masker(&self) -> Masker {
        self.lock().masker.for_another()
    }

    /// A text without any of them.
    #[must_use]
    pub fn masked(&self, text: &str) -> String {
        self.lock().masker.masked(text)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for JobSecrets {
    fn default() -> Self {
        Self::new(Vec::new(), Tokens::default())
    }
}

#[cfg(test)]
mod tests {
    use super::{JobSecrets, Tokens};
    use crate::secret::Secret;

    #[test]
    fn what_the_plan_adds_is_masked_in_both_logs() {
        let secrets = JobSecrets::new(vec![Secret::new("token-1")], Tokens::default());
        let of_the_runner = secrets.clone();
        secrets.add(&[Secret::new("signature")]);
        let text = "token-1 signature other";
        assert_eq!(of_the_runner.masked(text), "[MASKED] [MASKED] other");
        let mut log = Vec::new();
        let mut masker = secrets.masker();
        masker.push(text.as_bytes(), &mut log).expect("memory");
        masker.finish(&mut log).expect("memory");
        assert_eq!(log, b"[MASKED] [MASKED] other");
    }
}
