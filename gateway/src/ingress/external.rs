//! Asking a server whether a request may pass.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use portcullis_config::model::External;

use super::{
    Ingress, Refusal, RequestContext, Session, Stage, identity::Identity, question::About,
};
use crate::{
    identity::{Answer, ExternalCheck, Question},
    snapshot::{CompiledBackend, CompiledRule},
    upstream::{self, Patience, Reply},
};

impl Ingress {
    /// Asks the server of an authentication, which is known by name, or recalls
    /// what it said.
    ///
    /// # Errors
    /// The answer to a client that it does not let pass, and to any where there is
    /// no answer to go by.
    pub(super) async fn ask(
        &self,
        (authentication, settings, check): (&str, &External, &ExternalCheck),
        backend: Option<&CompiledBackend>,
        rule: &CompiledRule,
        session: &Session,
        ctx: &RequestContext,
        identity: &mut Identity,
    ) -> Result<(), Refusal> {
        let headers = &session.req_header().headers;
        if headers
            .get_all(header::AUTHORIZATION)
            .iter()
            .nth(1)
            .is_some()
        {
            // The server may judge the one, and the backend believe the other.
            return Err(Refusal::new(
                400,
                Stage::Authentication,
                "credentials-twice",
            ));
        }
        let about = About::new(settings, rule, session, ctx);
        let client = client_and_its_proxies(session, ctx);
        let certificate = ctx.facts.tls.as_ref().and_then(|tls| tls.client.as_ref());
        let place = check.place(&Question {
            method: about.method,
            origin: &about.origin,
            path: &about.path,
            client: &client,
            certificate: certificate.map_or("", |shown| &shown.fingerprint),
            headers: &about.sent,
        });
        let recalled = place.and_then(|place| check.recall(&place));
        let (answer, cookies) = match recalled {
            Some(answer) => (answer, Vec::new()),
            None => {
                let Some(backend) = backend else {
                    return Err(unavailable());
                };
                // The request as a whole may have less time.
                let left = rule.rule.policies.timeouts.request;
                let left = left.map(|limit| limit.saturating_sub(ctx.started.elapsed()));
                let time = settings.timeout.min(left.unwrap_or(Duration::MAX));
                let question = upstream::Question {
                    method: &settings.method,
                    target: &settings.path,
                    host: match &settings.host {
                        Some(host) => host.as_bytes(),
                        None => about.host.as_bytes(),
                    },
                    fields: &about.fields(session, ctx),
                    patience: Patience {
                        read: Some(time),
                        write: time,
                    },
                    keep: 0,
                };
                let asked = self.ask_in_time(backend, question, time).await;
                let Reply {
                    status, headers, ..
                } = asked.map_err(|fault| {
                    if let Some(untold) = check.failures.note() {
                        let backend = &backend.backend.name;
                        tracing::warn!(%authentication, %backend, %fault, untold, "an authentication got no answer and refuses");
                    }
                    unavailable()
                })?;
                let answer = Arc::new(Answer::of(status, &headers, settings));
                if let Some(place) = place {
                    check.remember(place, &answer, &headers);
                }
                (answer, cookies(&headers))
            }
        };
        match &*answer {
            Answer::Pass { headers, user } => {
                identity.tell_backend(headers);
                identity.cookies.extend(cookies);
                if user.is_some() {
                    identity.user.clone_from(user);
                }
                Ok(())
            }
            Answer::Unauthorized(challenges) => {
                let mut refusal = unauthorized(settings, session, &about, challenges);
                let cookies = cookies.into_iter();
                let cookies = cookies.map(|cookie| (header::SET_COOKIE, cookie));
                refusal.headers.extend(cookies);
                Err(refusal)
            }
            Answer::Forbidden => Err(Refusal::new(403, Stage::Authentication, "forbidden")),
            Answer::Unexpected(status) => {
                if let Some(untold) = check.failures.note() {
                    tracing::warn!(%authentication, backend = %settings.backend, status, untold, "an authentication got no answer that it knows and refuses");
                }
                Err(Refusal::new(500, Stage::Authentication, "bad-answer"))
            }
        }
    }
}

/// The address of the client, and of those before it, as the server is told of them.
fn client_and_its_proxies(session: &Session, ctx: &RequestContext) -> String {
    let mut text = ctx
        .view
        .client
        .map_or(String::new(), |client| client.to_string());
    if ctx.view.trusted {
        let chain = session.req_header().headers.get_all("x-forwarded-for");
        for line in chain {
            text.push_str(", ");
            text.push_str(&String::from_utf8_lossy(line.as_bytes()));
        }
    }
    text
}

fn unavailable() -> Refusal {
    Refusal::new(503, Stage::Authentication, "unavailable")
}

fn cookies(headers: &HeaderMap) -> Vec<HeaderValue> {
    headers
        .get_all(header::SET_COOKIE)
        .iter()
        .cloned()
        .collect()
}

/// The answer to a client that must say who it is: a browser is led to where it can.
fn unauthorized(
    settings: &External,
    session: &Session,
    about: &About<'_>,
    challenges: &[HeaderValue],
) -> Refusal {
    if let Some(sign_in) = settings.sign_in.as_ref().filter(|_| navigates(session)) {
        let mut refusal = Refusal::new(302, Stage::Authentication, "sign-in");
        refusal.location = Some(sign_in.location(&about.origin, &about.path));
        return refusal;
    }
    let mut refusal = Refusal::new(401, Stage::Authentication, "unauthorized");
    let challenges = challenges.iter().cloned();
    let challenges = challenges.map(|challenge| (header::WWW_AUTHENTICATE, challenge));
    refusal.headers.extend(challenges);
    refusal
}

/// Whether a person waits for a page: scripts, and clients of an API, are told 401.
fn navigates(session: &Session) -> bool {
    const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
    let request = session.req_header();
    let headers = &request.headers;
    if !matches!(request.method, Method::GET | Method::HEAD)
        || headers.contains_key(header::UPGRADE)
        || headers.contains_key("x-requested-with")
    {
        return false;
    }
    if let Some(mode) = headers.get(SEC_FETCH_MODE) {
        return mode == "navigate";
    }
    let mut accepts = headers.get_all(header::ACCEPT).iter();
    accepts.any(|line| line.to_str().is_ok_and(|line| line.contains("text/html")))
}
