//! Answers of the proxy itself.
//!
//! The reason code stands in the status line behind the usual phrase, in a header and in the body:
//! of the answer to a CONNECT many clients show the status line and nothing else (Go, Java,
//! Python), curl the number alone. RFC 9112 section 4 leaves that text free.
//!
//! A client is told what refuses it, and never what else would be allowed.

use std::{
    fmt::Write,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use hyper::ext::ReasonPhrase;
use portcullis_config::egress::{Authority, Refused};

use super::{
    identify::CHALLENGE,
    quota::{Charge, Unpaid},
    reasons::{Then, find},
    resolver::ResolveError,
};

/// Bytes of a name or an entry in a header; the body has all of it.
const MAX_FIELD: usize = 256;

/// A refusal or failure, with what the client and the audit log are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Status for the client.
    pub status: u16,
    /// Stable reason code.
    pub reason: &'static str,
    /// The policy that refuses.
    pub policy: Option<Arc<str>>,
    /// Text of the policy entry that decided.
    pub rule: Option<Arc<str>>,
    /// Whether no mode of a policy lifts it.
    pub always: bool,
    /// When it may be tried again, where that is known.
    pub retry_after: Option<Duration>,
}

/// What a refusal is about.
#[derive(Clone, Debug, Default)]
pub(super) struct About {
    /// Id of the request.
    pub id: String,
    /// Canonical host and port, where a destination was understood.
    pub destination: Option<(String, u16)>,
    /// How people ask for access.
    pub contact: Option<Arc<str>>,
}

/// An answer, before it is written.
struct Answer {
    status: u16,
    phrase: String,
    fields: Vec<(&'static str, String)>,
    body: String,
}

impl About {
    /// A request for a destination that was understood.
    pub(super) fn of(id: &str, authority: &Authority) -> Self {
        Self {
            id: id.to_owned(),
            destination: Some((authority.host.to_string(), authority.port)),
            contact: None,
        }
    }
}

impl Refusal {
    pub(super) fn new(status: u16, reason: &'static str) -> Self {
        Self {
            status,
            reason,
            policy: None,
            rule: None,
            always: true,
            retry_after: None,
        }
    }

    /// A refusal by policy.
    pub(super) fn policy(refused: &Refused) -> Self {
        Self {
            status: 403,
            reason: refused.reason,
            policy: refused.policy.clone(),
            rule: refused.rule.clone(),
            always: refused.always,
            retry_after: None,
        }
    }

    /// A refusal of what was allowed and is not any more, while it was got ready.
    pub(super) fn changed(reason: &'static str) -> Self {
        let status = match reason.starts_with("quota_") {
            true => 429,
            false => 403,
        };
        Self {
            always: false,
            ..Self::new(status, reason)
        }
    }

    /// A refusal by a quota (RFC 6585 section 4).
    pub(super) fn quota(unpaid: &Unpaid) -> Self {
        Self {
            status: 429,
            retry_after: Some(unpaid.retry_after),
            ..Self::policy(&unpaid.refused)
        }
    }

    /// A refusal of what was to be sent and has not enough left of its quotas for that.
    pub(super) fn unsent(charge: &Charge) -> Self {
        let unpaid = charge.spent(Instant::now());
        // What lacks bytes goes no further, also where another window has begun since.
        unpaid.map_or_else(
            || Self::changed("quota_bytes_out"),
            |unpaid| Self::quota(&unpaid),
        )
    }

    /// Writes the head and body for an HTTP/1.1 client.
    pub(super) fn response(&self, about: &About, keep_open: bool) -> Vec<u8> {
        let answer = self.answer(about);
        let mut head = format!("HTTP/1.1 {} {}\r\n", answer.status, answer.phrase);
        for (name, value) in &answer.fields {
            // A string takes it all.
            let _ = write!(head, "{name}: {value}\r\n");
        }
        let connection = if keep_open { "keep-alive" } else { "close" };
        let (length, body) = (answer.body.len(), &answer.body);
        format!("{head}content-length: {length}\r\nconnection: {connection}\r\n\r\n{body}")
            .into_bytes()
    }

    /// The same for hyper, which frames it.
    pub(super) fn hyper_response(&self, about: &About) -> Response<String> {
        let answer = self.answer(about);
        let mut response = Response::new(answer.body);
        *response.status_mut() =
            StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
        if let Ok(phrase) = ReasonPhrase::try_from(answer.phrase) {
            response.extensions_mut().insert(phrase);
        }
        for (name, value) in answer.fields {
            if let Ok(value) = HeaderValue::try_from(value) {
                let name = HeaderName::from_static(name);
                response.headers_mut().insert(name, value);
            }
        }
        response
    }

    fn answer(&self, about: &About) -> Answer {
        let text = StatusCode::from_u16(self.status)
            .ok()
            .and_then(|status| status.canonical_reason())
            .unwrap_or("Refused");
        let rule = self.told_rule(about);
        let mut fields = vec![
            (header::CONTENT_TYPE.as_str(), "application/json".to_owned()),
            (header::CACHE_CONTROL.as_str(), "no-store".to_owned()),
            ("x-portcullis-reason", format!("egress/{}", self.reason)),
            ("x-request-id", about.id.clone()),
        ];
        let named = [
            ("x-portcullis-policy", self.policy.as_deref()),
            ("x-portcullis-rule", rule),
        ];
        fields.extend(
            named
                .into_iter()
                .filter_map(|(name, value)| Some((name, field(value?)))),
        );
        if self.status == 407 {
            // .NET and Java send credentials to nobody who does not ask for them.
            let challenge = header::PROXY_AUTHENTICATE.as_str();
            fields.push((challenge, CHALLENGE.to_owned()));
        }
        let seconds = match self.retry_after {
            // In whole seconds (RFC 9110 section 10.2.3), and not before it is of use.
            Some(time) => Some(time.as_secs() + u64::from(time.subsec_nanos() > 0)),
            // What is not known yet is known in a moment.
            None if self.status == 503 || self.reason == "identity_unknown" => Some(1),
            None => None,
        };
        if let Some(seconds) = seconds {
            fields.push((header::RETRY_AFTER.as_str(), seconds.max(1).to_string()));
        }
        let (contact, message) = self.message(about);
        let mut body = serde_json::json!({
            "status": self.status,
            "error": text,
            "stage": "egress",
            "reason": self.reason,
            "message": message,
            "canBeAllowed": !self.always,
            "requestId": about.id,
        });
        let (host, port) = about.destination.clone().unzip();
        for (name, value) in [
            ("host", host.map(Into::into)),
            ("port", port.map(Into::into)),
            ("policy", self.policy.as_deref().map(Into::into)),
            ("rule", rule.map(Into::into)),
            ("contact", contact.map(Into::into)),
        ] {
            if let Some(value) = value {
                body[name] = value;
            }
        }
        Answer {
            status: self.status,
            phrase: format!("{text} egress/{}", self.reason),
            fields,
            body: format!("{body}\n"),
        }
    }

    /// The entry that decided, where the client may know it: one of `deny`, or one that names the
    /// host alone that it asked for. A wildcard of `allow` would tell what else there is.
    fn told_rule(&self, about: &About) -> Option<&str> {
        let rule = self.rule.as_deref()?;
        let is_host = |(host, _): &(String, u16)| host == rule;
        let denies = matches!(self.reason, "denied_host" | "denied_address");
        (denies || about.destination.as_ref().is_some_and(is_host)).then_some(rule)
    }

    /// A sentence for people, and whom to ask where that helps.
    fn message<'a>(&self, about: &'a About) -> (Option<&'a str>, String) {
        let mut message = match &about.destination {
            Some((host, port)) => format!("{host}:{port}"),
            None => "The request".to_owned(),
        };
        message.push_str(match self.status {
            502 | 504 => " is not reached",
            _ => " is refused",
        });
        if let Some(policy) = &self.policy {
            let _ = write!(message, " by the policy {policy:?}");
        }
        let reason = find(self.reason);
        message.push_str(": ");
        message.push_str(reason.map_or(self.reason, |reason| reason.says));
        let mut contact = None;
        match reason.map_or(Then::Nothing, |reason| reason.then) {
            Then::Nothing => {}
            Then::Do(advice) => {
                let _ = write!(message, "; {advice}");
            }
            Then::Ask(advice) => {
                contact = about.contact.as_deref();
                let _ = write!(message, "; {advice}");
                if let Some(contact) = contact {
                    let _ = write!(message, ": {contact}");
                }
            }
        }
        (contact, message)
    }
}

/// A value for a header: visible ASCII and single blanks as they are, all else and `%` as `%XX`;
/// cut where it is long.
fn field(text: &str) -> String {
    let mut value = String::new();
    for (at, byte) in text.bytes().enumerate() {
        if value.len() >= MAX_FIELD {
            value.push_str("...");
            break;
        }
        // A blank at either end is none of the value (RFC 9110 section 5.5).
        let is_inner = at > 0 && at + 1 < text.len();
        match byte {
            b'%' => value.push_str("%25"),
            b' ' if is_inner => value.push(' '),
            byte if byte.is_ascii_graphic() => value.push(char::from(byte)),
            byte => {
                let _ = write!(value, "%{byte:02X}");
            }
        }
    }
    value
}

impl From<ResolveError> for Refusal {
    fn from(error: ResolveError) -> Self {
        match error {
            ResolveError::NotFound => Self::new(502, "dns_nxdomain"),
            ResolveError::Timeout => Self::new(504, "dns_timeout"),
            ResolveError::Failed => Self::new(502, "dns_failed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(rule: &str, reason: &'static str) -> Refusal {
        Refusal {
            policy: Some("agents/build".into()),
            rule: Some(rule.into()),
            always: false,
            ..Refusal::new(403, reason)
        }
    }

    fn about(host: &str, contact: Option<&str>) -> About {
        About {
            id: "1".into(),
            destination: Some((host.into(), 443)),
            contact: contact.map(Into::into),
        }
    }

    /// The head as lines, and the body.
    fn read(refusal: &Refusal, about: &About) -> (Vec<String>, serde_json::Value) {
        let text = String::from_utf8(refusal.response(about, true)).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let head = head.split("\r\n").map(str::to_owned).collect();
        (head, serde_json::from_str(body).unwrap())
    }

    #[test]
    fn a_refusal_says_who_why_and_what_to_do() {
        let contact = Some("https://wiki.example/egress?a=\"b\"");
        let asked = about("api.example", contact);
        let (head, body) = read(&refused("api.example", "port_not_allowed"), &asked);
        assert_eq!(head[0], "HTTP/1.1 403 Forbidden egress/port_not_allowed");
        for line in [
            "x-portcullis-reason: egress/port_not_allowed",
            "x-portcullis-policy: agents/build",
            "x-portcullis-rule: api.example",
        ] {
            assert!(head.iter().any(|known| known == line), "{line}: {head:?}");
        }
        let message = "api.example:443 is refused by the policy \"agents/build\": this host is allowed, \
            and not on this port; ask for the port: https://wiki.example/egress?a=\"b\"";
        let expected = serde_json::json!({
            "status": 403, "error": "Forbidden", "stage": "egress", "reason": "port_not_allowed",
            "message": message, "canBeAllowed": true, "requestId": "1", "host": "api.example",
            "port": 443, "policy": "agents/build", "rule": "api.example", "contact": contact,
        });
        assert_eq!(body, expected);
        // Nobody can be asked for what no policy opens, and nothing is known of a bad head.
        let (_, body) = read(&Refusal::new(403, "always_blocked"), &asked);
        assert_eq!(body["contact"], serde_json::Value::Null);
        let (head, body) = read(&Refusal::new(400, "bad_head"), &About::default());
        assert_eq!(head[0], "HTTP/1.1 400 Bad Request egress/bad_head");
        assert!(
            body["message"]
                .as_str()
                .unwrap()
                .starts_with("The request is refused: ")
        );
        assert_eq!(
            (&body["host"], &body["policy"]),
            (&body["none"], &body["none"])
        );
    }

    #[test]
    fn what_no_policy_opens_is_told_from_what_is_not_listed() {
        for (refusal, expected) in [
            (Refusal::new(403, "always_blocked"), false),
            (refused("api.example", "not_allowed"), true),
        ] {
            let (_, body) = read(&refusal, &about("api.example", None));
            assert_eq!(body["canBeAllowed"], expected, "{body}");
        }
    }

    #[test]
    fn who_must_say_who_it_is_is_told_how() {
        let told = |status| {
            let (head, _) = read(&Refusal::new(status, "token_missing"), &About::default());
            let challenge = "proxy-authenticate: Basic realm=\"portcullis\", Bearer";
            head.iter().any(|line| line == challenge)
        };
        assert!(told(407) && !told(403));
    }

    #[test]
    fn a_name_without_an_address_has_a_status_of_its_own() {
        for (error, expected) in [
            (ResolveError::NotFound, (502, "dns_nxdomain")),
            (ResolveError::Failed, (502, "dns_failed")),
            (ResolveError::Timeout, (504, "dns_timeout")),
        ] {
            let refusal = Refusal::from(error);
            assert_eq!((refusal.status, refusal.reason), expected);
        }
    }

    #[test]
    fn what_else_is_allowed_is_not_told() {
        for (rule, reason, told) in [
            ("*.example", "port_not_allowed", false),
            ("(api|secret).example", "request_not_allowed", false),
            ("10.0.0.0/8", "grant_expired", false),
            ("api.example", "grant_expired", true),
            ("*.example", "denied_host", true),
            ("10.0.0.0/8", "denied_address", true),
        ] {
            let refusal = refused(rule, reason);
            let (head, body) = read(&refusal, &about("api.example", None));
            let in_head = head
                .iter()
                .any(|line| line.starts_with("x-portcullis-rule"));
            assert_eq!(
                (in_head, body["rule"] == rule),
                (told, told),
                "{rule} {reason}"
            );
            assert!(told || !body.to_string().contains(rule), "{body}");
        }
    }

    #[test]
    fn no_text_leaves_its_field() {
        for (text, value) in [
            ("*.a.example", "*.a.example"),
            ("a b", "a b"),
            (" a ", "%20a%20"),
            ("a\r\nx: b", "a%0D%0Ax: b"),
            ("\u{fc}%0d\0", "%C3%BC%250d%00"),
        ] {
            assert_eq!(field(text), value);
        }
        let long = field(&"\u{fc}".repeat(5000));
        assert!(
            long.len() < MAX_FIELD + 10 && long.ends_with("..."),
            "{long}"
        );
        // Whatever an entry says, the head has its lines and no others.
        let hostile = "x\r\nset-cookie: a=b\r\n\r\n<script>";
        let refusal = refused(hostile, "denied_host");
        let (head, body) = read(&refusal, &about("a.example", None));
        assert!(
            !head.iter().any(|line| line.starts_with("set-cookie")),
            "{head:?}"
        );
        assert_eq!(body["rule"], hostile);
        let response = refusal.hyper_response(&about("a.example", None));
        let phrase = response.extensions().get::<ReasonPhrase>().unwrap();
        assert_eq!(phrase.as_bytes(), b"Forbidden egress/denied_host");
        assert_eq!(response.headers().len(), 6);
    }
}
