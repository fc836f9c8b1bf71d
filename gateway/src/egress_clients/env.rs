//! Variables as a shell, a file of variables and a container have them.

use super::{ClientSettings, Unable, Variable, quoted, variables::PROXY};

/// What reads the variables, and what passes the proxy by.
const TRAP: &str = "\
# curl, wget, git over https, pip, npm, Yarn, cargo, Go and Python read these variables.
# Node before 22.21 and 24.5, Java, ssh and Chromium do not: ENOTFOUND there while curl works means that they
# pass the proxy by. wget, Node, urllib and Yarn read no ranges of NO_PROXY, and ask the proxy.
";
/// What is to be in the file of authorities.
const TRUST: &str = "# The file of SSL_CERT_FILE must have the authorities of the system too: programs read it in place of them.\n";

impl ClientSettings {
    /// Lines for a shell (POSIX), which may evaluate or source them. A token is read when it does.
    pub(crate) fn shell(&self) -> String {
        let mut text = "# For eval \"$(...)\" or `.` in a shell.\n".to_owned();
        text.push_str(TRAP);
        if self.token_file.is_some() {
            text.push_str("# The token is read here and now, and is another one after an hour: a relay reads it for each request.\n");
        }
        for (name, value) in self.pairs(&mut text) {
            let is_proxy = PROXY.iter().any(|names| names.contains(&name));
            let value = match &self.token_file {
                Some(file) if is_proxy => self.with_token(file),
                _ => quoted(&value),
            };
            text.push_str(&format!("export {name}={value}\n"));
        }
        text
    }

    /// Lines `NAME=VALUE` for `docker run --env-file`, `EnvironmentFile=` of systemd and
    /// `kubectl create configmap --from-env-file`. No quotes: of these systemd alone takes them off.
    ///
    /// # Errors
    /// [`Unable::ReadsNoToken`], and [`Unable::QuotesDiffer`] for a file of authorities.
    pub(crate) fn env_file(&self) -> Result<String, Unable> {
        self.without_token()?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+@".contains(&byte);
        if let Some(file) = &self.trust
            && !file.bytes().all(plain)
        {
            return Err(Unable::QuotesDiffer);
        }
        let mut text = "# For `docker run --env-file`, `EnvironmentFile=` of systemd, `kubectl create configmap --from-env-file`.\n".to_owned();
        text.push_str(TRAP);
        for (name, value) in self.pairs(&mut text) {
            text.push_str(&format!("{name}={value}\n"));
        }
        Ok(text)
    }

    /// `env` of a container in a manifest of Kubernetes.
    ///
    /// # Errors
    /// [`Unable::ReadsNoToken`].
    pub(crate) fn kubernetes(&self) -> Result<String, Unable> {
        self.without_token()?;
        let mut text = "# For a container; namespaces with a label give it to their pods by themselves (egress.workloads.injection).\n".to_owned();
        text.push_str(TRAP);
        let pairs = self.pairs(&mut text);
        text.push_str("env:\n");
        for (name, value) in pairs {
            let value = serde_json::Value::from(value);
            text.push_str(&format!("  - {{name: {name}, value: {value}}}\n"));
        }
        Ok(text)
    }

    /// Each name with its value. What is to be said of them is added to a text.
    fn pairs(&self, text: &mut String) -> Vec<(&'static str, String)> {
        let mut variables = self.proxy_variables();
        if self.trust.is_some() {
            text.push_str(TRUST);
        }
        variables.extend(self.trust_variables());
        let each = |Variable { names, value }| {
            names.iter().map(move |name| (*name, String::clone(&value)))
        };
        variables.into_iter().flat_map(each).collect()
    }

    /// The URL of the proxy with the token as a password, which a shell reads. What a token is made of
    /// (RFC 7519 section 3) stands for itself in a URL.
    fn with_token(&self, file: &str) -> String {
        let scheme = if self.proxy.is_tls() { "https" } else { "http" };
        let (file, at) = (quoted(file), self.proxy.authority());
        format!("\"{scheme}://token:$(cat {file})@{at}\"")
    }
}
