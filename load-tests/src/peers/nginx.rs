//! nginx: the proxy that most clusters come from.
//!
//! One worker, keep-alive on both sides, the usual forwarding headers, and an
//! access log in JSON through a buffer, since Portcullis writes one too. No
//! access list and no rate limit: it is the reference for a plain proxy.

use std::{path::PathBuf, process::Command};

use super::{Place, Template, write_config};
use crate::programs;

/// The configuration, with placeholders.
pub(super) const TEMPLATE: Template = Template {
    text: include_str!("../../configs/nginx.conf"),
    // Without a name of its own the address of the endpoint would be looked for, and by
    // default 1.3 is not spoken. In one line, since the first comment has the placeholder too.
    upstream_tls: "proxy_ssl_verify on; proxy_ssl_trusted_certificate {authority}; \
                   proxy_ssl_server_name on; proxy_ssl_name {name}; \
                   proxy_ssl_protocols TLSv1.2 TLSv1.3;",
};

/// Finds nginx.
///
/// # Errors
///
/// When it is not installed.
pub fn program() -> anyhow::Result<PathBuf> {
    programs::system("nginx", "nginx-light")
}

/// Returns the command that starts nginx in the foreground.
///
/// # Errors
///
/// When nginx is not installed or the configuration cannot be written.
pub fn command(place: &Place<'_>) -> anyhow::Result<Command> {
    let config = write_config(place, "nginx.conf", TEMPLATE)?;
    let mut command = Command::new(program()?);
    command.arg("-p").arg(place.folder);
    command.arg("-c").arg(config);
    // The log that is open before the configuration has been read.
    command.args(["-e", "stderr"]);
    Ok(command)
}
