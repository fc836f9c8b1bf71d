//! Who the client is.

use std::time::Duration;

use http::{HeaderValue, header};
use portcullis_config::model::{Action, AuthenticationMethod, Basic, Preflight};

use super::{Ingress, Refusal, RequestContext, Session, Stage, identity::Identity};
use crate::{
    identity::{BasicCheck, BasicVerdict, Check, challenge},
    snapshot::CompiledRule,
};

/// When to come back where too many passwords are being checked.
const BUSY: Duration = Duration::from_secs(1);

impl Ingress {
    /// Asks who the client is, by every authentication of the rule.
    ///
    /// # Errors
    /// The answer to a client that is not let in.
    pub(super) async fn identify(
        &self,
        rule: &CompiledRule,
        session: &mut Session,
        ctx: &mut RequestContext,
    ) -> Result<(), Refusal> {
        if leads_to_https(rule, ctx) {
            return Ok(());
        }
        if rule.authentications.len() != rule.rule.policies.authentication.len() {
            return Err(refuse(503, "unavailable"));
        }
        let preflight = ctx.preflight_for.is_some();
        let mut identity = Box::<Identity>::default();
        for authentication in &rule.authentications {
            let settings = authentication.authenticator.settings();
            let metrics = &self.services().metrics;
            if preflight && settings.preflight == Preflight::Pass {
                metrics.authentication(&settings.name, "preflight");
                continue;
            }
            let found = match (&settings.method, authentication.authenticator.check()) {
                (AuthenticationMethod::Basic(settings), Check::Basic(check)) => {
                    check_password(settings, check, session, &mut identity).await
                }
                (AuthenticationMethod::External(asked), Check::External(check)) => {
                    let backend = authentication.backend.as_deref();
                    let with = (&*settings.name, &**asked, &**check);
                    self.ask(with, backend, rule, session, ctx, &mut identity)
                        .await
                }
                _ => Err(refuse(503, "unavailable")),
            };
            let verdict = match &found {
                Ok(()) => "pass",
                Err(refusal) if refusal.status >= 500 => "error",
                Err(_) => "deny",
            };
            metrics.authentication(&settings.name, verdict);
            if let Err(mut refusal) = found {
                // What an earlier one renewed is good, whatever becomes of the request.
                let cookies = identity.cookies.into_iter();
                let cookies = cookies.map(|cookie| (header::SET_COOKIE, cookie));
                refusal.headers.extend(cookies);
                return Err(refusal.by(&settings.name));
            }
        }
        ctx.identity = Some(identity);
        Ok(())
    }
}

async fn check_password(
    settings: &Basic,
    check: &BasicCheck,
    session: &Session,
    identity: &mut Identity,
) -> Result<(), Refusal> {
    let headers = &session.req_header().headers;
    let user = match check.check(headers).await {
        BasicVerdict::User(user) => user,
        BasicVerdict::Busy => {
            let mut refusal = refuse(503, "busy");
            refusal.retry_after = Some(BUSY);
            return Err(refusal);
        }
        verdict => {
            let reason = match verdict {
                BasicVerdict::Missing => "credentials-missing",
                _ => "credentials-wrong",
            };
            let mut refusal = refuse(401, reason);
            let challenge = HeaderValue::try_from(challenge(settings));
            let challenge = challenge.unwrap_or(HeaderValue::from_static("Basic"));
            refusal.headers.push((header::WWW_AUTHENTICATE, challenge));
            return Err(refusal);
        }
    };
    if let Some(name) = &settings.user_header {
        // A name has no control characters, and anything else is a field value.
        let value =
            HeaderValue::from_bytes(user.as_bytes()).map_err(|_| refuse(503, "unavailable"))?;
        identity.tell_backend(&[(name.clone(), value)]);
    }
    identity.user = Some(user);
    Ok(())
}

/// Whether the rule sends the client on to https: a password must not be asked for
/// in clear, only to be asked for again.
fn leads_to_https(rule: &CompiledRule, ctx: &RequestContext) -> bool {
    !ctx.view.secure
        && matches!(&rule.rule.action, Action::Redirect(to) if to.scheme == Some("https"))
}

fn refuse(status: u16, reason: &'static str) -> Refusal {
    Refusal::new(status, Stage::Authentication, reason)
}
