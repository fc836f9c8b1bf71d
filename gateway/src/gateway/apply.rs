//! What is loaded is put in force, or refused and told.

use std::{sync::Arc, time::SystemTime};

use portcullis_config::{
    problem::{Origin, Problem, Severity},
    read::Origins,
};

use super::{
    Gateway, LoadState, lock,
    reload::{Cause, Outcome},
};
use crate::{
    listen::ListenError,
    load::{Loaded, Refused},
};

impl Gateway {
    /// Puts a configuration in force.
    ///
    /// # Errors
    /// Why it cannot be: then it is refused.
    pub(super) fn accept(&self, loaded: Loaded, cause: Cause) -> Result<Outcome, Refused> {
        let inner = &self.inner;
        let Loaded {
            mut snapshot,
            tls_files,
            problems,
            origins,
            named_files,
            settings,
            settings_refused,
        } = loaded;
        let not_put = |problems: Vec<Problem>| Refused {
            problems: placed(problems, &origins),
            named_files: named_files.clone(),
        };
        let counts = severities(&problems);
        let unchanged = inner.snapshot.load().hash == snapshot.hash;
        let table = match inner.tls.plan(&snapshot.model, &tls_files) {
            Ok(table) => table,
            Err(error) => return Err(not_put(vec![internal("listeners".into(), &error)])),
        };
        let version = inner.snapshot.load().version + 1;
        if !unchanged {
            let plan = match inner.listeners.plan(&snapshot.model.listeners) {
                Ok(plan) => plan,
                Err(errors) => return Err(not_put(listener_problems(&errors))),
            };
            let egress = match inner.egress.plan(snapshot.model.egress.as_ref()) {
                Ok(plan) => plan,
                Err(problems) => return Err(not_put(problems)),
            };
            if let Err(problem) = self.bind_servers(&snapshot.model.process) {
                return Err(not_put(vec![*problem]));
            }
            inner.tls.commit(table, tls_files);
            snapshot.version = version;
            let snapshot = Arc::new(snapshot);
            inner.snapshot.store(Arc::clone(&snapshot));
            inner.listeners.commit(plan);
            inner.egress.commit(egress);
            self.adopt(&snapshot);
            tracing::info!(version = snapshot.version, "configuration reloaded");
        } else {
            let before = inner.tls.files();
            let rotated = !tls_files
                .certificates
                .facts()
                .eq(before.certificates.facts());
            let judged = tls_files.judges_otherwise(&before);
            let sealed = tls_files.seals_otherwise(&before);
            inner.tls.commit(table, tls_files);
            self.tell_certificates();
            if rotated {
                tracing::info!("certificates changed");
            }
            if sealed {
                tracing::info!("ticket keys changed");
            }
            if judged {
                tracing::info!("what certificates of clients are judged by changed");
            }
        }
        let is_refused = settings_refused.is_some();
        let is_known = self.is_known(&problems);
        let mut state = lock(&inner.state);
        let good_again = unchanged && state.refused.is_some() && !is_refused;
        let tells_again = is_refused && cause.tells_again();
        let news = !unchanged || state.problems != problems || tells_again;
        *state = LoadState {
            at: Some(SystemTime::now()),
            refused: settings_refused,
            problems,
            named_files,
        };
        drop(state);
        self.write_bound();
        if is_refused && news {
            tracing::error!("settings refused; the last good ones serve");
        }
        if good_again {
            tracing::info!("configuration good again, as it was before");
        }
        if news {
            self.tell_problems();
        }
        // Last: whoever sees the count finds what it counts.
        match unchanged {
            true => inner.metrics.load_unchanged(counts),
            false => inner.metrics.load_accepted(version, counts),
        }
        if !is_refused {
            inner.metrics.nothing_refused();
        }
        if is_refused && news {
            inner.metrics.load_refused(counts);
        }
        settings
            .into_iter()
            .for_each(|good| inner.source.accept(good));
        Ok(match is_refused {
            true => Outcome::Refused { is_known },
            false => Outcome::Done,
        })
    }

    /// Whether the last load was refused for the same: that is told and counted once, unless
    /// somebody has done something about it.
    pub(super) fn is_known(&self, problems: &[Problem]) -> bool {
        let state = lock(&self.inner.state);
        state.refused.is_some() && state.problems == problems
    }

    pub(super) fn refuse(&self, refused: Refused) {
        let inner = &self.inner;
        let (errors, warnings) = severities(&refused.problems);
        // It may have made some on its way.
        self.keep_series(&inner.snapshot.load());
        let mut state = lock(&inner.state);
        // What the refused one names is watched too, so that mending a file it names is noticed.
        state.watch_more(refused.named_files.clone());
        let named_files = std::mem::take(&mut state.named_files);
        *state = LoadState {
            at: Some(SystemTime::now()),
            refused: refused.first().cloned(),
            problems: refused.problems,
            named_files,
        };
        drop(state);
        tracing::error!(errors, "configuration refused; the last good one serves");
        self.tell_problems();
        // Last: whoever sees the count finds what it counts.
        inner.metrics.load_refused((errors, warnings));
    }
}

pub(super) fn listener_problems(errors: &[ListenError]) -> Vec<Problem> {
    let problem =
        |error: &ListenError| internal(format!("listeners[{}].address", error.index), error);
    errors.iter().map(problem).collect()
}

pub(super) fn internal(path: String, error: &dyn std::fmt::Display) -> Problem {
    Problem::error(Origin::Internal, path, error.to_string())
}

/// Finds where what could not be put in force is written.
pub(super) fn placed(mut problems: Vec<Problem>, origins: &Origins) -> Vec<Problem> {
    for problem in &mut problems {
        problem.origin = origins.locate(&problem.path);
        if problem.reason.contains("in use") {
            problem.hint = Some("another process has it; `ss -ltnp` tells which".into());
        }
    }
    problems
}

/// How many errors and warnings there are.
pub(super) fn severities(problems: &[Problem]) -> (usize, usize) {
    let errors = problems
        .iter()
        .filter(|problem| problem.severity == Severity::Error)
        .count();
    (errors, problems.len() - errors)
}
