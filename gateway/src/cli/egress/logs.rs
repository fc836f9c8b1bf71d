//! Audit logs that a command line names.

use std::{
    fs::File,
    io::{self, BufReader},
    path::Path,
};

use anyhow::Context;

use crate::{
    cli::admin,
    egress_tools::{LineCounts, Record, read_lines},
};

/// Records that a gateway is asked for: all that it keeps.
const ALL: u32 = u32::MAX;

/// Why reading ends.
enum Ended {
    Unreadable(io::Error),
    Refused(anyhow::Error),
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error)
    }
}

/// Reads files, or standard input for `-`, and gives each egress record to `take`.
///
/// # Errors
/// A file that cannot be read, and what `take` says.
pub(super) fn read_files(
    files: &[std::path::PathBuf],
    counts: &mut LineCounts,
    mut take: impl FnMut(Record) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    for file in files {
        let mut take = |record| take(record).map_err(Ended::Refused);
        let read = if file == Path::new("-") {
            read_lines("-", io::stdin().lock(), counts, &mut take)
        } else {
            let name = file.display().to_string();
            File::open(file)
                .map_err(Ended::from)
                .and_then(|log| read_lines(&name, BufReader::new(log), counts, &mut take))
        };
        match read {
            Ok(()) => {}
            Err(Ended::Refused(error)) => return Err(error),
            Err(Ended::Unreadable(error)) => {
                return Err(error).with_context(|| format!("{} cannot be read", file.display()));
            }
        }
    }
    Ok(())
}

/// Asks a running gateway for the records that it keeps.
///
/// # Errors
/// A gateway that does not answer, and what `take` says.
pub(super) fn read_admin(
    url: &str,
    counts: &mut LineCounts,
    mut take: impl FnMut(Record) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let records = admin::get(url, &format!("/audit?limit={ALL}"))?
        .with_context(|| format!("{url} knows no /audit: is it the admin listener?"))?;
    for record in records.as_array().into_iter().flatten() {
        let line = record.to_string();
        let taken = read_lines(url, line.as_bytes(), counts, |record| {
            take(record).map_err(Ended::Refused)
        });
        match taken {
            Ok(()) => {}
            Err(Ended::Refused(error)) => return Err(error),
            Err(Ended::Unreadable(error)) => return Err(error.into()),
        }
    }
    Ok(())
}
