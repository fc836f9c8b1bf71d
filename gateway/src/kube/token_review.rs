//! Questions about tokens: TokenReviews, which are made and not kept.

use std::fmt;

use futures_util::future::{BoxFuture, FutureExt};
use http::{Request, header};
use kube::Client;
use portcullis_config::egress::ReviewedToken;
use serde::Deserialize;
use serde_json::json;

use super::watch::reason;
use crate::identity::ReviewTokens;

const PATH: &str = "/apis/authentication.k8s.io/v1/tokenreviews";

/// Asks the API server of a cluster.
pub(super) struct Reviewer {
    client: Client,
}

/// A TokenReview that was answered, as far as it is read.
#[derive(Deserialize)]
struct Answered {
    #[serde(default)]
    status: ReviewedToken,
}

impl Reviewer {
    pub(super) fn new(client: Client) -> Self {
        Self { client }
    }

    async fn ask(&self, token: &str, audience: &str) -> Result<ReviewedToken, String> {
        let review = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": { "token": token, "audiences": [audience] },
        });
        let request = Request::post(PATH)
            .header(header::CONTENT_TYPE, "application/json")
            .body(review.to_string().into_bytes())
            .map_err(|error| error.to_string())?;
        // As text: the client would log an answer that it cannot read, and the token is in it.
        let text = self.client.request_text(request).await;
        let text = text.map_err(|error| reason(&error))?;
        let answered: Result<Answered, _> = serde_json::from_str(&text);
        let answered = answered.map_err(|_| "what came is no TokenReview".to_owned())?;
        Ok(answered.status)
    }
}

impl ReviewTokens for Reviewer {
    fn review<'a>(
        &'a self,
        token: &'a str,
        audience: &'a str,
    ) -> BoxFuture<'a, Result<ReviewedToken, String>> {
        self.ask(token, audience).boxed()
    }
}

impl fmt::Debug for Reviewer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reviewer")
    }
}
