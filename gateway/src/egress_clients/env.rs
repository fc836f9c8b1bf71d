//! Variables as a shell, a file of variables and a container have them.

use super::{Assumed, ClientSettings, Unable, Variable, quoted, variables::PROXY};

impl ClientSettings {
    /// Lines for a shell (POSIX), which may evaluate or source them. A token is read when it does.
    pub(crate) fn shell(&self) -> String {
        // A file that is in pods alone would leave programs without any authority.
        let trust = match self.assumes(Assumed::Trust) {
            true => Vec::new(),
            false => self.trust_variables(),
        };
        let mut text = String::new();
        for (name, value) in self.pairs(trust) {
            let is_proxy = PROXY.iter().any(|names| names.contains(&name));
            let value = match &self.token_file {
                Some(file) if is_proxy => self.with_token(file),
                _ => quoted(&value),
            };
            text.push_str(&format!("export {name}={value}\n"));
        }
        // Behind the lines: `eval $(...)` without quotes makes one line of all, which ends at the first `#`.
        text.push_str("# For eval \"$(...)\" or `.` in a shell.\n");
        text + &self.remarks_of_shell()
    }

    /// Lines `NAME=VALUE` for `docker run --env-file`, `EnvironmentFile=` of systemd and
    /// `kubectl create configmap --from-env-file`. No quotes: of these systemd alone takes them off.
    ///
    /// # Errors
    /// [`Unable::ReadsNoToken`] for a token that is asked for, and [`Unable::QuotesDiffer`] for a file of authorities.
    pub(crate) fn env_file(&self) -> Result<String, Unable> {
        self.without_own_token()?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+@".contains(&byte);
        if let Some(file) = &self.trust
            && !file.bytes().all(plain)
        {
            return Err(Unable::QuotesDiffer);
        }
        let mut text = "# For `docker run --env-file`, `EnvironmentFile=` of systemd, `kubectl create configmap --from-env-file`.\n".to_owned();
        text.push_str(&self.remarks_of_container());
        for (name, value) in self.pairs(self.trust_variables()) {
            text.push_str(&format!("{name}={value}\n"));
        }
        Ok(text)
    }

    /// `env` of a container in a manifest of Kubernetes.
    ///
    /// # Errors
    /// [`Unable::ReadsNoToken`] for a token that is asked for.
    pub(crate) fn kubernetes(&self) -> Result<String, Unable> {
        self.without_own_token()?;
        let mut text = "# For a container; namespaces with a label give it to their pods by themselves (egress.workloads.injection).\n".to_owned();
        text.push_str(&self.remarks_of_container());
        text.push_str("env:\n");
        for (name, value) in self.pairs(self.trust_variables()) {
            // Kubernetes takes `$(NAME)` for a variable, and `$$` for a dollar.
            let value = serde_json::Value::from(value.replace('$', "$$"));
            text.push_str(&format!("  - {{name: {name}, value: {value}}}\n"));
        }
        Ok(text)
    }

    /// Each name with its value.
    fn pairs(&self, trust: Vec<Variable>) -> Vec<(&'static str, String)> {
        let mut variables = self.proxy_variables();
        variables.extend(trust);
        let each = |Variable { names, value }| {
            names.iter().map(move |name| (*name, String::clone(&value)))
        };
        variables.into_iter().flat_map(each).collect()
    }

    /// Fails for a token that is asked for. Pods have theirs for programs that send it by themselves, and the same
    /// variables as all others.
    fn without_own_token(&self) -> Result<(), Unable> {
        match self.assumes(Assumed::Token) {
            true => Ok(()),
            false => self.without_token(),
        }
    }

    /// The URL of the proxy with the token as a password, which a shell reads. What a token is made of
    /// (RFC 7519 section 3) stands for itself in a URL.
    fn with_token(&self, file: &str) -> String {
        let scheme = if self.proxy.is_tls() { "https" } else { "http" };
        let (file, at) = (quoted(file), self.proxy.authority());
        format!("\"{scheme}://token:$(cat {file})@{at}\"")
    }
}
