//! The API server, for the administrator.

use std::fs;

use anyhow::{Context, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use portcullis_tests::Cluster;
use serde_json::Value;

/// The API server, for the administrator.
#[derive(Clone, Debug)]
pub struct Api {
    client: reqwest::Client,
    server: String,
}

impl Api {
    /// Reads how a cluster is reached from within its networks.
    ///
    /// # Errors
    /// When its kubeconfig cannot be read.
    pub fn read(cluster: &Cluster) -> anyhow::Result<Self> {
        let text = fs::read_to_string(cluster.kubeconfig_inside())?;
        let config: Value = serde_saphyr::from_str(&text)?;
        let decoded = |value: &Value| -> anyhow::Result<Vec<u8>> {
            Ok(BASE64_STANDARD.decode(value.as_str().context("no data")?)?)
        };
        let (known, user) = (
            &config["clusters"][0]["cluster"],
            &config["users"][0]["user"],
        );
        let identity = [
            decoded(&user["client-certificate-data"])?,
            decoded(&user["client-key-data"])?,
        ];
        let authority = decoded(&known["certificate-authority-data"])?;
        let client = reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(&authority)?])
            .identity(reqwest::Identity::from_pem(&identity.concat())?)
            .no_proxy()
            .build()?;
        let server = known["server"].as_str().context("no server")?.to_owned();
        Ok(Self { client, server })
    }

    /// Creates an object, at the path of its kind.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn create(&self, path: &str, object: &Value) -> anyhow::Result<()> {
        let url = format!("{}{path}", self.server);
        answered(path, self.client.post(url).json(object)).await
    }

    /// Replaces an object, whatever version of it is there.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn replace(&self, path: &str, object: &Value) -> anyhow::Result<()> {
        let name = object["metadata"]["name"].as_str().context("no name")?;
        let path = format!("{path}/{name}");
        let url = format!("{}{path}", self.server);
        answered(&path, self.client.put(url).json(object)).await
    }
}

async fn answered(path: &str, request: reqwest::RequestBuilder) -> anyhow::Result<()> {
    let response = request.send().await?;
    let status = response.status();
    // Read whatever it says: a stream that is dropped is reset, and a server bears only so many.
    let text = response.text().await?;
    ensure!(status.is_success(), "{path}: {status} {text}");
    Ok(())
}
