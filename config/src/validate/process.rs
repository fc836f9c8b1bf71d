//! Management, admin, logs and limits.

use std::net::SocketAddr;

use super::{report::Report, text};
use crate::{
    document::Document,
    model::{AdminAddress, LogSink, Process},
};

pub(super) fn process(document: &Document, report: &mut Report<'_>) -> Process {
    let mut process = Process::default();
    if let Some(address) = document
        .management
        .as_ref()
        .and_then(|section| section.address.as_deref())
        && let Some(address) = report.ok("management.address", text::socket_address(address))
    {
        process.management = address;
    }
    if let Some(admin) = &document.admin {
        if let Some(address) = admin.address.as_deref()
            && let Some(address) = report.ok("admin.address", admin_address(address))
        {
            process.admin = address;
        }
        process.audit_records = admin.audit_records.unwrap_or(process.audit_records);
        process.audit_bytes = admin.audit_bytes.map_or(process.audit_bytes, |size| size.0);
    }
    if let Some(logs) = &document.logs {
        process.access_log = sink(
            "logs.access",
            logs.access.as_deref(),
            process.access_log,
            report,
        );
        process.audit_log = sink(
            "logs.audit",
            logs.audit.as_deref(),
            process.audit_log,
            report,
        );
        process.secrets = secrets(&logs.secrets, report);
    }
    if let Some(section) = &document.process {
        if section.max_buffered_bytes.is_some_and(|size| size.0 == 0) {
            report.error(
                "process.maxBufferedBytes",
                "maxBufferedBytes must be more than 0",
            );
        }
        process.drain_timeout = section
            .drain_timeout
            .map_or(process.drain_timeout, |time| time.0);
        process.max_buffered_bytes = section
            .max_buffered_bytes
            .map_or(process.max_buffered_bytes, |size| size.0);
        process.max_mirrored = section.max_mirrored.unwrap_or(process.max_mirrored);
        if section.max_udp_sessions == Some(0) {
            report.error(
                "process.maxUdpSessions",
                "maxUdpSessions must be more than 0",
            );
        }
        process.max_udp_sessions = section.max_udp_sessions.unwrap_or(process.max_udp_sessions);
        process.max_relay_pipes = section.max_relay_pipes.unwrap_or(process.max_relay_pipes);
        process.max_compressions = section.max_compressions.unwrap_or(process.max_compressions);
    }
    process
}

fn admin_address(text: &str) -> Result<AdminAddress, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return match path.starts_with('/') {
            true => Ok(AdminAddress::Unix(path.into())),
            false => Err(format!(
                "{text:?} needs an absolute path, as unix:/run/portcullis/admin.sock"
            )),
        };
    }
    let address: SocketAddr = text::socket_address(text)?;
    match address.ip().to_canonical().is_loopback() {
        true => Ok(AdminAddress::Tcp(address)),
        false => Err(format!(
            "{text:?} is not a loopback address; the admin endpoint shows the whole configuration"
        )),
    }
}

fn secrets(names: &[String], report: &mut Report<'_>) -> Vec<String> {
    for (index, name) in names.iter().enumerate() {
        if !name.contains(|letter: char| letter.is_ascii_alphanumeric()) {
            report.error_hint(
                format!("logs.secrets[{index}]"),
                format!("{name:?} has no letter or digit to know a name by"),
                "write a part of a name, as card-number",
            );
        }
    }
    names.to_vec()
}

fn sink(path: &str, text: Option<&str>, default: LogSink, report: &mut Report<'_>) -> LogSink {
    match text {
        None => default,
        Some("stdout") => LogSink::Stdout,
        Some("off") => LogSink::Off,
        Some("") => {
            report.error_hint(path, "an empty log sink", "stdout, off, or a file");
            default
        }
        Some(word)
            if matches!(
                word.to_ascii_lowercase().as_str(),
                "no" | "off" | "false" | "none"
            ) =>
        {
            report.error_hint(
                path,
                format!("{word:?} is no log sink"),
                "did you mean \"off\"?",
            );
            default
        }
        Some(word)
            if matches!(
                word.to_ascii_lowercase().as_str(),
                "yes" | "true" | "on" | "stdout" | "stderr"
            ) =>
        {
            report.error_hint(
                path,
                format!("{word:?} is no log sink"),
                "did you mean \"stdout\"?",
            );
            default
        }
        Some(file) => LogSink::File(report.origins().resolve(path, file)),
    }
}
