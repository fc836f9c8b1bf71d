//! Portcullis with its ordinary policies on: access list, rate limit, body size
//! limit, access log and metrics. The WAF is off: rules are another measurement.

use std::{path::PathBuf, process::Command};

use super::{Place, Template, write_config};
use crate::programs;

/// The configuration, with placeholders.
pub(super) const TEMPLATE: Template = Template {
    text: include_str!("../../configs/portcullis.yaml"),
    upstream_tls: r#"tls: {ca: "{authority}", serverName: {name}}"#,
};

/// Finds the portcullis binary beside this one.
///
/// # Errors
///
/// When it has not been built.
pub fn program() -> anyhow::Result<PathBuf> {
    programs::built("portcullis", "portcullis")
}

/// Returns the command that starts Portcullis on one worker thread.
///
/// # Errors
///
/// When it has not been built or the configuration cannot be written.
pub fn command(place: &Place<'_>) -> anyhow::Result<Command> {
    let config = write_config(place, "portcullis.yaml", TEMPLATE)?;
    let mut command = Command::new(program()?);
    command.args(["run", "--threads", "1", "--config"]);
    command.arg(config);
    Ok(command)
}

#[cfg(test)]
mod tests {
    use portcullis_config::{
        read::{SourceFile, read},
        validate::validate,
    };

    use super::*;
    use crate::{
        certificate::CertificateFiles,
        peers::{fill, tests::example},
    };

    #[test]
    fn the_configuration_has_no_problems() {
        let certificate = CertificateFiles::of("/certificates".as_ref());
        let mut place = example(&certificate);
        for tls in [false, true] {
            place.upstream.tls = tls;
            let read = read(&[SourceFile {
                name: "portcullis.yaml".into(),
                text: fill(&place, TEMPLATE),
            }]);
            assert!(read.problems.is_empty(), "{:#?}", read.problems);
            let validated = validate(&read.document, &read.origins);
            assert!(validated.problems.is_empty(), "{:#?}", validated.problems);
            assert_eq!(read.document.listeners.len(), 2);
            assert_eq!(read.document.routes.len(), 1);
            assert_eq!(read.document.backends[0].tls.is_some(), tls);
        }
    }
}
