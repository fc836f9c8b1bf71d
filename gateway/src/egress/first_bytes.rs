//! The first bytes of a tunnel.

use std::sync::Arc;

use bytes::BytesMut;
use portcullis_config::{
    egress::{Authority, Beginnings, Host, Refused},
    model::EgressLimits,
};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::tls::{FirstBytes, HelloReader};

/// How a tunnel begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beginning {
    /// The reason code of what is wrong with it.
    fault: Option<&'static str>,
    /// Whether its ClientHello may name another host than it shows.
    may_hide_a_name: bool,
    /// Bytes of the records of its ClientHello; none where it begins with none.
    hello: usize,
}

impl Beginning {
    /// Whether it is a whole ClientHello for the host.
    pub(super) fn is_good(self) -> bool {
        self.fault.is_none()
    }

    /// Bytes of the records of its ClientHello, where it begins with one.
    pub(super) fn hello(self) -> Option<usize> {
        (self.hello > 0).then_some(self.hello)
    }

    /// What is to be said of a ClientHello and of one behind it.
    pub(super) fn and(self, second: Self) -> Self {
        Self {
            fault: self.fault.or(second.fault),
            may_hide_a_name: self.may_hide_a_name || second.may_hide_a_name,
            ..self
        }
    }

    /// What is said against it, if something is. `policy` is the one that allows the tunnel.
    pub(super) fn refused(
        self,
        policies: &Beginnings,
        policy: Option<&Arc<str>>,
    ) -> Option<Refused> {
        let refused = |reason, mode, policy: Option<&Arc<str>>| Refused {
            reason,
            policy: policy.cloned(),
            rule: None,
            mode,
            always: false,
        };
        let fault = self
            .fault
            .map(|fault| refused(fault, policies.faults, policy));
        let hidden = policies.hidden.as_ref().filter(|_| self.may_hide_a_name);
        let hidden =
            hidden.map(|(policy, mode)| refused("encrypted_client_hello", *mode, Some(policy)));
        match (fault, hidden) {
            (Some(fault), Some(hidden)) if !fault.is_final() && hidden.is_final() => Some(hidden),
            (fault, hidden) => fault.or(hidden),
        }
    }
}

/// Reads the first bytes until they can be judged; none has left yet. `None` where the client
/// closes before.
///
/// On port 80 a client may speak in clear; what looks like TLS is judged there too.
pub(super) async fn judge_first_bytes(
    client: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
    authority: &Authority,
    limits: &EgressLimits,
) -> Option<Beginning> {
    let mut hello = HelloReader::default();
    let mut length = 0;
    let reading = async {
        loop {
            let read = hello.read(buffer);
            // Also one that came whole, at once. What stands behind it is none of its bytes.
            let size = match &read {
                FirstBytes::Hello(_) => hello.taken(),
                FirstBytes::NotTls | FirstBytes::Incomplete => buffer.len(),
            };
            if size as u64 > limits.max_client_hello_size && read != FirstBytes::NotTls {
                return Some(Err("client_hello_too_large"));
            }
            match read {
                FirstBytes::Hello(name) => {
                    length = size;
                    return Some(sni_agrees(name.as_deref(), &authority.host));
                }
                // A ClientHello that cannot be read to its end is none in clear.
                FirstBytes::NotTls if authority.port == 80 && !hello.may_hide_a_name() => {
                    return Some(Ok(()));
                }
                FirstBytes::NotTls => return Some(Err("not_tls")),
                FirstBytes::Incomplete => {}
            }
            match client.read_buf(buffer).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    };
    let judged = match tokio::time::timeout(limits.client_hello_timeout, reading).await {
        Ok(judged) => judged?,
        Err(_) => Err("client_hello_timeout"),
    };
    Some(Beginning {
        fault: judged.err(),
        may_hide_a_name: hello.may_hide_a_name(),
        hello: length,
    })
}

fn sni_agrees(sni: Option<&str>, host: &Host) -> Result<(), &'static str> {
    match (sni, host) {
        (Some(sni), Host::Name(name)) if sni.strip_suffix('.').unwrap_or(sni) == name => Ok(()),
        (None, Host::Address(_)) => Ok(()),
        (None, Host::Name(_)) => Err("sni_missing"),
        (Some(_), _) => Err("sni_mismatch"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_that_is_shown_is_the_host_that_was_asked_for() {
        for (sni, host, expected) in [
            (Some("api.example"), "api.example", Ok(())),
            (Some("api.example."), "api.example", Ok(())),
            (None, "192.0.2.1", Ok(())),
            (None, "api.example", Err("sni_missing")),
            (Some("evil.example"), "api.example", Err("sni_mismatch")),
            (
                Some("api.example.evil.test"),
                "api.example",
                Err("sni_mismatch"),
            ),
            (Some("x.api.example"), "api.example", Err("sni_mismatch")),
            (Some("api.example"), "192.0.2.1", Err("sni_mismatch")),
        ] {
            let host = Host::parse(host).unwrap();
            assert_eq!(sni_agrees(sni, &host), expected, "{sni:?} {host}");
        }
    }

    #[tokio::test]
    async fn what_is_no_tls_passes_on_port_80_alone() {
        for (port, expected) in [(80, None), (443, Some("not_tls")), (8443, Some("not_tls"))] {
            let authority = Authority::parse(format!("api.example:{port}").as_bytes(), None);
            let (mut client, mut buffer) = (&b"GET / HTTP/1.1\r\n"[..], BytesMut::new());
            let limits = EgressLimits::default();
            let authority = authority.unwrap();
            let judged = judge_first_bytes(&mut client, &mut buffer, &authority, &limits).await;
            assert_eq!(judged.unwrap().fault, expected, "{port}");
        }
    }
}
