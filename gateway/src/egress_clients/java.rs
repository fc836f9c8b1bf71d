//! Properties of Java, and of Gradle, which is a program in Java.

use portcullis_config::egress::Host;

use super::{
    ClientSettings, Unable,
    patterns::{Pattern, patterns},
};

/// Who is told that a PEM file is not enough.
const READS_NO_PEM: &str = "\
# Java reads no PEM, and trusts no authority of the proxy by this: keytool makes a trust store, to be named in
# javax.net.ssl.trustStore.
";
/// Who is told that the line of JAVA_TOOL_OPTIONS is too long.
const TOO_LONG: &str = "\
# JAVA_TOOL_OPTIONS would have 1024 bytes or more, which Java 8 passes over: give it the lines as arguments of java.
";
/// Bytes that Java 8 reads a variable into, with a zero at the end (`OPTION_BUFFER_SIZE` of HotSpot).
const TOOL_OPTIONS_BUFFER: usize = 1024;

impl ClientSettings {
    /// An argument file of `java`, a property in each line.
    ///
    /// # Errors
    /// [`Unable::SpeaksNoTls`] and [`Unable::ReadsNoToken`].
    pub(crate) fn java(&self) -> Result<String, Unable> {
        self.in_clear()?;
        let mut text = "\
# For `java @FILE` (9 and later); for others JAVA_TOOL_OPTIONS=\"$(grep ^-D FILE | tr '\\n' ' ')\".
# Java reads no HTTPS_PROXY: UnknownHostException while curl works means that it passes the proxy by. nonProxyHosts is for https too.
"
        .to_owned();
        self.warn(&mut text);
        let each = |(name, value)| format!("-D{name}={value}\n");
        let lines: String = self.properties().into_iter().map(each).collect();
        // A blank stands for each end of a line.
        if lines.len() >= TOOL_OPTIONS_BUFFER {
            text.push_str(TOO_LONG);
        }
        Ok(text + &lines)
    }

    /// A `gradle.properties`.
    ///
    /// # Errors
    /// Those of [`Self::java`].
    pub(crate) fn gradle(&self) -> Result<String, Unable> {
        self.in_clear()?;
        let mut text = "\
# Lines for ~/.gradle/gradle.properties. The wrapper reads it too, and Gradle passes it on to its daemon.
# Gradle reads no HTTPS_PROXY: UnknownHostException while curl works means that it passes the proxy by.
"
        .to_owned();
        self.warn(&mut text);
        let mut properties = self.properties();
        // Gradle reads a list for each of the two.
        properties.push(("https.nonProxyHosts", self.non_proxy_hosts()));
        for (name, value) in properties {
            text.push_str(&format!("systemProp.{name}={value}\n"));
        }
        Ok(text)
    }

    /// The host of the proxy, an address of IPv6 without brackets.
    pub(super) fn proxy_host(&self) -> String {
        match &self.proxy.authority().host {
            Host::Name(name) => name.clone(),
            Host::Address(address) => address.to_string(),
        }
    }

    /// The properties of <https://docs.oracle.com/en/java/javase/21/core/java-networking.html>, "Proxies".
    fn properties(&self) -> Vec<(&'static str, String)> {
        let (host, port) = (self.proxy_host(), self.proxy.authority().port.to_string());
        vec![
            ("http.proxyHost", host.clone()),
            ("http.proxyPort", port.clone()),
            ("https.proxyHost", host),
            ("https.proxyPort", port),
            ("http.nonProxyHosts", self.non_proxy_hosts()),
        ]
    }

    /// What is reached without the proxy, in Java's own syntax.
    fn non_proxy_hosts(&self) -> String {
        let written = |pattern| match pattern {
            Pattern::Plain(text) => text,
            Pattern::V6(text) => format!("[{text}]"),
        };
        let all = self.no_proxy.entries().iter().flat_map(patterns);
        let all: Vec<String> = all.map(written).collect();
        all.join("|")
    }

    fn warn(&self, text: &mut String) {
        text.push_str(&self.commented_assumption());
        if self.trust.is_some() {
            text.push_str(READS_NO_PEM);
        }
    }
}
