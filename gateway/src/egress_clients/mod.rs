//! What programs are told, so that they go through the egress proxy.
//!
//! ```text
//! injection of a configuration, or a URL -> ClientSettings -> variables  -> pods, by the webhook
//!                                                          |            -> shell, env file, container
//!                                                          -> properties of Java, settings.xml, ssh_config
//! ```
//!
//! Plain text of plain data: nothing is read, and no secret is in it.

mod env;
mod java;
mod maven;
mod patterns;
mod pods;
mod remarks;
mod ssh;
#[cfg(test)]
mod tests;
mod variables;

use portcullis_config::egress::{NoProxy, ProxyUrl};

pub(crate) use self::{
    pods::{TOKEN_FOLDER, TRUST_FOLDER},
    variables::Variable,
};

/// What programs are to know.
#[derive(Clone, Debug)]
pub(crate) struct ClientSettings {
    /// The proxy, or the relay before it, as they reach it.
    pub(crate) proxy: ProxyUrl,
    /// What they reach without it.
    pub(crate) no_proxy: NoProxy,
    /// PEM file with the authorities that they are to trust.
    pub(crate) trust: Option<String>,
    /// File with the token that they show the proxy.
    pub(crate) token_file: Option<String>,
    /// What of this is in pods that the webhook has changed, and nowhere else by itself.
    pub(crate) assumed: Vec<Assumed>,
}

/// What the webhook puts into a pod, and whoever is told of it elsewhere has to provide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Assumed {
    /// A relay where the proxy is said to be.
    Relay,
    /// The file of authorities.
    Trust,
    /// The file with the token.
    Token,
}

/// Why what is wanted cannot be said to a kind of program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unable {
    /// It reads no files where the proxy is named.
    #[error(
        "cannot read a token from a file: name a relay (`portcullis egress relay`), which shows it for all programs"
    )]
    ReadsNoToken,
    /// It speaks to proxies in clear alone.
    #[error(
        "cannot speak TLS to a proxy: name a relay (`portcullis egress relay`), which does that for all programs"
    )]
    SpeaksNoTls,
    /// Its readers differ in quotes.
    #[error(
        "cannot name the file of --ca alike for all who read it: letters, digits and `/._-+@` are"
    )]
    QuotesDiffer,
}

impl ClientSettings {
    fn assumes(&self, one: Assumed) -> bool {
        self.assumed.contains(&one)
    }

    /// Fails for what shows no token out of a file.
    fn without_token(&self) -> Result<(), Unable> {
        match self.token_file {
            Some(_) => Err(Unable::ReadsNoToken),
            None => Ok(()),
        }
    }

    /// Fails for what speaks to proxies in clear alone, and shows no token out of a file.
    fn in_clear(&self) -> Result<(), Unable> {
        if self.proxy.is_tls() {
            return Err(Unable::SpeaksNoTls);
        }
        self.without_token()
    }
}

/// A word of a shell that means these bytes (POSIX, Shell Command Language, section 2.2.2).
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
