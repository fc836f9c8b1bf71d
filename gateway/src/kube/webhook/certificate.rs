//! The certificate of the webhook, as its Secret is now.

use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::Secret;
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use crate::kube::ResourceName;

/// The settings of TLS that a Secret makes.
#[derive(Debug, Default)]
pub(super) struct Certificate(Mutex<Tls>);

#[derive(Debug, Default)]
struct Tls {
    /// The Secret that was looked at last.
    tried: Option<Arc<Secret>>,
    /// The last good settings.
    config: Option<Arc<ServerConfig>>,
}

impl Certificate {
    /// The settings of the Secret as it is now, or as it was when it was good last.
    pub(super) fn settings(
        &self,
        name: &ResourceName,
        secret: Option<Arc<Secret>>,
    ) -> Option<Arc<ServerConfig>> {
        let mut tls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Tls { tried, config } = &mut *tls;
        let is_tried = match (&tried, &secret) {
            (Some(tried), Some(secret)) => Arc::ptr_eq(tried, secret),
            (None, None) => config.is_some(),
            _ => false,
        };
        if !is_tried {
            let made = match &secret {
                Some(secret) => settings(secret),
                None => Err("there is no such Secret".to_owned()),
            };
            match made {
                Ok(made) => *config = Some(Arc::new(made)),
                Err(reason) => {
                    let serves = config.is_some();
                    tracing::error!(secret = %name, reason, serves, "certificate of the webhook");
                }
            }
            *tried = secret;
        }
        config.clone()
    }
}

fn settings(secret: &Secret) -> Result<ServerConfig, String> {
    let key = |name: &str| {
        let data = secret.data.as_ref();
        let value = data.and_then(|data| data.get(name));
        value.ok_or_else(|| format!("it has no key {name}"))
    };
    let chain = CertificateDer::pem_slice_iter(&key("tls.crt")?.0)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("tls.crt: {error}"))?;
    let private = PrivateKeyDer::from_pem_slice(&key("tls.key")?.0)
        .map_err(|error| format!("tls.key: {error}"))?;
    ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|error| error.to_string())
}
