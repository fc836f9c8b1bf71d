//! Proxies that the egress proxy goes through, with what they are shown.

use std::{
    ops::Deref,
    sync::{Arc, atomic::AtomicUsize},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::HeaderValue;
use portcullis_config::{egress::UpstreamProxy, problem::Severity};
use rustls::ClientConfig;

use super::{Reads, upstream_tls};

/// An upstream proxy.
#[derive(Debug)]
pub struct CompiledUpstreamProxy {
    settings: UpstreamProxy,
    /// TLS to it, where it speaks that.
    pub client: Option<Arc<ClientConfig>>,
    /// The place of the address that could be connected to last.
    pub good: AtomicUsize,
    /// What it is shown in `Proxy-Authorization`, which no log shows.
    pub authorization: Option<HeaderValue>,
}

impl Deref for CompiledUpstreamProxy {
    type Target = UpstreamProxy;

    fn deref(&self) -> &UpstreamProxy {
        &self.settings
    }
}

/// Reads what they need; `None` where some of it is not good, which is told.
pub(super) fn compile(
    proxies: &[UpstreamProxy],
    reads: &Reads,
    tell: &mut impl FnMut(Severity, String, String),
) -> Option<Vec<Arc<CompiledUpstreamProxy>>> {
    let made = proxies.iter().enumerate().map(|(index, proxy)| {
        let made = compile_one(proxy, reads);
        made.map_err(|(field, reason)| {
            let place = format!("egress.upstreamProxies[{index}].{field}");
            tell(Severity::Error, place, reason);
        })
    });
    // All of them, so that each problem is told.
    let made: Vec<_> = made.collect();
    made.into_iter()
        .map(|made| Some(Arc::new(made.ok()?)))
        .collect()
}

fn compile_one(
    proxy: &UpstreamProxy,
    reads: &Reads,
) -> Result<CompiledUpstreamProxy, upstream_tls::Broken> {
    let client = match &proxy.tls {
        None => None,
        Some(tls) => {
            let made = upstream_tls::to_anybody(tls.ca.as_deref(), reads);
            let mut made = ClientConfig::clone(&*made.map_err(|(_, reason)| ("tls.ca", reason))?);
            made.alpn_protocols = vec![b"http/1.1".to_vec()];
            Some(Arc::new(made))
        }
    };
    let authorization = match &proxy.credentials {
        None => None,
        Some(path) => {
            let bytes = reads.read(path).map_err(|reason| ("credentials", reason))?;
            let value = basic(&bytes);
            let named = |reason| ("credentials", format!("{}: {reason}", path.display()));
            Some(value.map_err(named)?)
        }
    };
    Ok(CompiledUpstreamProxy {
        settings: proxy.clone(),
        client,
        good: AtomicUsize::default(),
        authorization,
    })
}

/// The value of `Proxy-Authorization` for `USER:PASSWORD` (RFC 7617 section 2). The reason never has
/// what is in the file.
fn basic(bytes: &[u8]) -> Result<HeaderValue, &'static str> {
    let line = bytes.trim_ascii();
    if !line.contains(&b':') || line.iter().any(u8::is_ascii_control) {
        return Err("not one line with USER:PASSWORD");
    }
    let value = format!("Basic {}", STANDARD.encode(line));
    let value = HeaderValue::try_from(value);
    let mut value = value.map_err(|_| "not one line with USER:PASSWORD")?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_password_are_one_line() {
        let value = basic(b"Aladdin:open sesame\n").expect("both");
        assert_eq!(value, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert!(value.is_sensitive());
        for bad in ["", "user", "a:b\nc:d", "a:b\0"] {
            basic(bad.as_bytes()).expect_err(bad);
        }
    }
}
