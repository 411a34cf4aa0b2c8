//! What makes runners known to a coordinator, and forgotten.

use serde_json::{Map, Value, json};
use ureq::http::Method;

use super::client::{ANSWER, Client, Reply};
use super::error::{Answer, ApiError};
use super::wire::{Registration, Token};
use crate::secret::Secret;

/// The longest answer that is read, in bytes.
const MAX_ANSWER: u64 = 1024 * 1024;
/// GitLab's "never", for a time.
const NEVER: &str = "0001-01-01T00:00:00Z";

impl Client {
    /// Makes a runner known and returns its token.
    ///
    /// # Errors
    /// [`ApiError`].
    pub fn register(&self, registration: &Registration) -> Result<Token, ApiError> {
        let Value::Object(body) = json!({
            "token": registration.token,
            "description": registration.description,
            "tag_list": registration.tags,
            "run_untagged": registration.run_untagged,
            "locked": registration.locked,
            "info": self.info,
        }) else {
            unreachable!("an object was written")
        };
        self.new_token("runners", body)
    }

    /// Gets another token for a runner; the one before is good no longer.
    ///
    /// # Errors
    /// [`ApiError`].
    pub fn renew(&self, token: &Secret) -> Result<Token, ApiError> {
        self.new_token("runners/reset_authentication_token", self.json(token))
    }

    fn new_token(&self, path: &'static str, body: Map<String, Value>) -> Result<Token, ApiError> {
        let mut reply = self.send_json(&Method::POST, (path, path), body, ANSWER)?;
        if !reply.status().is_success() {
            return Err(reply.failed());
        }
        let said = said(&mut reply);
        let Some(token) = said["token"].as_str() else {
            let missing = "the answer has no token".to_owned();
            return Err(reply.error(Answer::None(missing)));
        };
        Ok(Token {
            secret: Secret::new(token),
            expires_at: expiry(&said),
        })
    }

    /// Makes a runner unknown, with all hosts that serve by its token.
    ///
    /// # Errors
    /// [`ApiError`].
    pub fn unregister(&self, token: &Secret) -> Result<(), ApiError> {
        self.runner(&Method::DELETE, "runners", token).map(drop)
    }

    /// Makes a runner unknown on this host: others may serve by its token.
    ///
    /// # Errors
    /// [`ApiError`].
    pub fn unregister_host(&self, token: &Secret) -> Result<(), ApiError> {
        self.runner(&Method::DELETE, "runners/managers", token)
            .map(drop)
    }

    /// Asks whether a runner is known. Returns when its token expires, as [`Token::expires_at`].
    ///
    /// # Errors
    /// [`ApiError`], which is a refusal where it is not.
    pub fn verify(&self, token: &Secret) -> Result<Option<String>, ApiError> {
        let mut reply = self.runner(&Method::POST, "runners/verify", token)?;
        Ok(expiry(&said(&mut reply)))
    }

    fn runner(
        &self,
        method: &Method,
        path: &'static str,
        token: &Secret,
    ) -> Result<Reply, ApiError> {
        let body = self.json_of_host(token);
        let reply = self.send_json(method, (path, path), body, ANSWER)?;
        if reply.status().is_success() {
            return Ok(reply);
        }
        Err(reply.failed())
    }
}

/// An answer's JSON; `null` where it is none.
fn said(reply: &mut Reply) -> Value {
    let (body, _) = reply.read(MAX_ANSWER);
    serde_json::from_slice(&body).unwrap_or_default()
}

fn expiry(said: &Value) -> Option<String> {
    let time = said["token_expires_at"].as_str()?;
    (time != NEVER && !time.is_empty()).then(|| time.to_owned())
}
