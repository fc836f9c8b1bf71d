//! `ssh_config`, also for git over ssh.

use super::{
    ClientSettings, Unable,
    patterns::{Pattern, patterns},
    quoted,
};

impl ClientSettings {
    /// Lines of an ssh_config(5). ssh speaks to no proxy itself; of the programs that do, nc of OpenBSD is in a
    /// package of one name in Debian and Alpine, and looks no destination up.
    ///
    /// # Errors
    /// [`Unable::SpeaksNoTls`] and [`Unable::ReadsNoToken`].
    pub(crate) fn ssh(&self) -> Result<String, Unable> {
        self.in_clear()?;
        let direct = self.no_proxy.entries().iter().flat_map(patterns);
        let direct: String = direct
            .map(|(Pattern::Plain(text) | Pattern::V6(text))| format!(",!{text}"))
            .collect();
        let at = quoted(&self.proxy.authority().to_string());
        let remark = self.commented_assumption();
        // `Host` is about the word of the command line, and an alias is no address.
        Ok(format!(
            "\
# For the END of ~/.ssh/config: `Match host` is about the HostName that is said before it. Also for git over ssh.
# It needs the package netcat-openbsd (Debian, Alpine): nc of others has no -X.
# ssh reads no HTTPS_PROXY: \"Could not resolve hostname\" while curl works means that it passes the proxy by. The entry
# of the policy says `ports: [22]` and `raw: true`.
{remark}Match host *{direct}
    ProxyCommand nc -X connect -x {at} %h %p
"
        ))
    }
}
