//! `settings.xml` of Maven.

use super::{
    ClientSettings, Unable,
    patterns::{Pattern, patterns},
};

impl ClientSettings {
    /// A `settings.xml` (<https://maven.apache.org/settings.html#Proxies>) with a proxy for each of the two
    /// protocols that repositories have: Maven looks for that of a repository's own.
    ///
    /// # Errors
    /// [`Unable::SpeaksNoTls`] and [`Unable::ReadsNoToken`].
    pub(crate) fn maven(&self) -> Result<String, Unable> {
        self.in_clear()?;
        let (host, port) = (escaped(&self.proxy_host()), self.proxy.authority().port);
        // An address of IPv6 is no host of a repository for Maven, with or without brackets.
        let plain = |pattern| match pattern {
            Pattern::Plain(text) => Some(text),
            Pattern::V6(_) => None,
        };
        let direct = self.no_proxy.entries().iter().flat_map(patterns);
        let direct: Vec<String> = direct.filter_map(plain).collect();
        let direct = escaped(&direct.join("|"));
        let of = |protocol| {
            format!(
                "    <proxy>
      <id>egress-{protocol}</id>
      <active>true</active>
      <protocol>{protocol}</protocol>
      <host>{host}</host>
      <port>{port}</port>
      <nonProxyHosts>{direct}</nonProxyHosts>
    </proxy>
"
            )
        };
        let assumed = self.assumption().map(|said| format!("     {said}\n"));
        let assumed = assumed.unwrap_or_default();
        Ok(format!(
            "<!-- For `mvn -s FILE`; who has a ~/.m2/settings.xml puts the <proxies> there, since Maven reads one of the two.
{assumed}     Maven reads no HTTPS_PROXY: \"Unknown host\" while curl works means that it passes the proxy by.
     Plugins and tests that connect by themselves need the properties of Java, in MAVEN_OPTS; a trust store for what looks
     into TLS is named there too. -->
<settings xmlns=\"http://maven.apache.org/SETTINGS/1.0.0\">
  <proxies>
{}{}  </proxies>
</settings>
",
            of("http"),
            of("https")
        ))
    }
}

/// Text of an element (XML 1.0 section 2.4).
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
