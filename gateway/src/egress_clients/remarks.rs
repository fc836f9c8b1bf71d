//! What is said beside the settings, in comments: who passes the proxy by all the same, and what has to be there.

use super::{Assumed, ClientSettings};

/// What reads the variables, and what passes the proxy by.
const TRAP: &str = "\
# curl, wget, git over https, pip, npm, Yarn, cargo, Go and Python read these variables, Chromium too on Linux unless
# its flags or the desktop say otherwise. Node before 22.21 and 24.5, Java and ssh do not: ENOTFOUND there while curl
# works means that they pass the proxy by. wget, npm, Node, urllib and Yarn read no ranges of NO_PROXY, and ask the proxy.
# wget of busybox (Alpine) reads http_proxy alone, for https as well, and no NO_PROXY: for what is reached without the
# proxy use `wget -Y off`, curl, GNU wget, or httpGet for a probe.
";
/// Who cannot reach a proxy over TLS.
const OVER_TLS: &str = "\
# wget and Python's urllib speak no TLS to a proxy, and fail: a relay (`portcullis egress relay`) does that for them.
";
/// What is to be in the file of authorities.
const TRUST: &str = "\
# The file of SSL_CERT_FILE must have the authorities of the system too: programs read it in place of them.
";
/// What becomes of a token in a shell.
const TOKEN: &str = "\
# The token is read here and now, and is another one after an hour: a relay reads it for each request.
";

impl ClientSettings {
    /// What is to be said of variables in a shell.
    pub(super) fn remarks_of_shell(&self) -> String {
        let mut text = self.remarks_of_proxy();
        match &self.trust {
            Some(file) if self.assumes(Assumed::Trust) => text.push_str(&format!(
                "# Pods have authorities in {file}, which is not here by itself: name a file with --ca.\n"
            )),
            Some(_) => text.push_str(TRUST),
            None => {}
        }
        if let Some(file) = &self.token_file {
            if self.assumes(Assumed::Token) {
                text.push_str(&format!("# The token is in {file}, as it is in pods.\n"));
            }
            text.push_str(TOKEN);
        }
        text
    }

    /// What is to be said of variables in a container.
    pub(super) fn remarks_of_container(&self) -> String {
        let mut text = self.remarks_of_proxy();
        if let Some(file) = &self.trust {
            text.push_str(TRUST);
            let mounted = match self.assumes(Assumed::Trust) {
                true => ", where pods have the ConfigMap of `trust` mounted",
                false => "",
            };
            text.push_str(&format!(
                "# {file} must be at this path in the container{mounted}.\n"
            ));
        }
        if let Some(file) = &self.token_file {
            text.push_str(&format!(
                "\
# The token is not in these: a program reads it from {file}, where pods have it
# mounted, and sends it in Proxy-Authorization by itself. Those that do not are refused; a relay does it for all.
"
            ));
        }
        text
    }

    /// What is to be there for a proxy that is named for pods, in a sentence.
    pub(super) fn assumption(&self) -> Option<String> {
        let at = self.proxy.authority();
        self.assumes(Assumed::Relay).then(|| {
            format!("A relay (`portcullis egress relay`) must answer at {at}, as it does in pods that are given one.")
        })
    }

    /// The same in a line of its own.
    pub(super) fn commented_assumption(&self) -> String {
        let line = |said| format!("# {said}\n");
        self.assumption().map(line).unwrap_or_default()
    }

    fn remarks_of_proxy(&self) -> String {
        let tls = if self.proxy.is_tls() { OVER_TLS } else { "" };
        let assumed = self.commented_assumption();
        format!("{TRAP}{tls}{assumed}")
    }
}
