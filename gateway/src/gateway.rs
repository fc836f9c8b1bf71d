//! The process put together: what starts, reloads and drains.
//!
//! ```text
//! files or objects changed, SIGHUP --> load --> plan listeners --> swap the snapshot --> commit
//!                      ^                 \            \                              listeners
//!                      |                  \------------+--> refused: told, the last good one serves
//!                      +-- after a pause, what is refused -----------------+
//! ```

use std::{
    collections::HashSet,
    fs,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use arc_swap::ArcSwap;
use portcullis_config::{
    model::{AdminAddress, Process},
    problem::{Origin, Problem, Severity},
    read::Origins,
};
use serde_json::{Value, json};

use crate::{
    admin::{self, AdminServer, AdminView},
    descriptors,
    egress::{EgressServers, EgressServices, TestAnswers},
    files::{Change, ConfigFiles, Watcher},
    ingress::{Ingress, Services},
    inspect::BodyBudget,
    listen::{ListenError, Listeners},
    load::{Loaded, Refused, Serving, load},
    places::Places,
    retry::Retry,
    slots::Slots,
    snapshot::{Live, Snapshot},
    source::{Objects, Settings, Source},
    tcp::{TcpRelay, TcpServices},
    telemetry::{AccessLog, AuditLog, Decisions, LogWriter, Metrics},
    tls::Tls,
    udp::UdpServices,
};

/// How long changes of objects are waited for that come together, at least.
const SETTLE: Duration = Duration::from_millis(5);

/// Why a configuration is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// Somebody asks for it.
    Asked,
    /// Something is different with files.
    Files(Change),
    /// Objects changed.
    Objects,
    /// What was refused is tried again.
    Again,
}

impl Cause {
    /// Whether a refusal is told though the same was told before: to those who did something
    /// about it.
    fn tells_again(self) -> bool {
        matches!(self, Self::Asked | Self::Files(Change::Content))
    }
}

/// What came of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// It serves, or there is nothing to do any more.
    Done,
    /// What was loaded cannot be put in force, and the settings of before are to go on.
    GoesOnWithout,
    /// The configuration is refused, or the settings in it.
    Refused {
        /// Whether the load before was refused for the same.
        is_known: bool,
    },
}

/// How to start a gateway.
#[derive(Clone, Debug, Default)]
pub struct GatewayOptions {
    /// Configuration files and folders.
    pub config: Vec<PathBuf>,
    /// Objects that it serves besides.
    pub objects: Option<Arc<dyn Objects>>,
    /// Where to write the bound addresses.
    pub bound_file: Option<PathBuf>,
    /// Answers of the egress proxy for tests.
    pub egress_test: TestAnswers,
}

/// A running gateway. Clones are the same gateway.
#[derive(Clone)]
pub struct Gateway {
    inner: Arc<Inner>,
}

struct Inner {
    source: Source,
    bound_file: Option<PathBuf>,
    live: Live,
    metrics: Arc<Metrics>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    tls: Arc<Tls>,
    budget: Arc<BodyBudget>,
    compressions: Arc<Slots>,
    mirrored: Arc<Slots>,
    udp_sessions: Arc<Places>,
    access_log: Arc<AccessLog>,
    audit_log: Arc<AuditLog>,
    decisions: Decisions,
    ingress: Arc<Ingress>,
    listeners: Listeners,
    egress: EgressServers,
    servers: Mutex<Servers>,
    state: Mutex<LoadState>,
    /// Loads run one at a time.
    loading: tokio::sync::Mutex<()>,
    /// When what was refused is tried again.
    retry: Retry,
    draining: AtomicBool,
    /// Whether a configuration with all objects has been put in force.
    serves_objects: AtomicBool,
}

#[derive(Default)]
struct Servers {
    addresses: Option<(SocketAddr, AdminAddress)>,
    management: Option<AdminServer>,
    admin: Option<AdminServer>,
}

/// The last load, as the admin endpoint shows it.
#[derive(Default)]
struct LoadState {
    at: Option<SystemTime>,
    /// Why it was refused.
    refused: Option<Problem>,
    problems: Vec<Problem>,
    named_files: Vec<PathBuf>,
}

impl LoadState {
    /// Watches more files.
    fn watch_more(&mut self, files: Vec<PathBuf>) {
        self.named_files.extend(files);
        self.named_files.sort();
        self.named_files.dedup();
    }
}

impl Gateway {
    /// Starts a gateway; to be called on a multi-thread runtime.
    ///
    /// # Errors
    /// When the first configuration is refused, or an address cannot be bound.
    pub fn start(options: GatewayOptions) -> Result<Self, Refused> {
        let began = Instant::now();
        descriptors::raise();
        let source = Source::new(ConfigFiles::new(options.config), options.objects);
        let live = Live::default();
        let metrics = Arc::new(Metrics::new());
        let Loaded {
            snapshot,
            tls_files,
            problems,
            origins,
            named_files,
            settings,
            settings_refused,
        } = load(&source, &live, &metrics, None)?;
        let counts = severities(&problems);
        let process = snapshot.model.process.clone();
        let decisions = Decisions::default();
        let access = LogWriter::start("access-log", process.access_log.clone())
            .map_err(|error| refused(&error))?;
        let audit = LogWriter::start("audit-log", process.audit_log.clone())
            .map_err(|error| refused(&error))?;
        let access_log = Arc::new(AccessLog::new(access, decisions.clone()));
        let audit_log = Arc::new(AuditLog::new(
            audit,
            process.audit_records as usize,
            usize::try_from(process.audit_bytes).unwrap_or(usize::MAX),
        ));
        let budget = BodyBudget::new(process.max_buffered_bytes);
        let compressions = Slots::new(process.max_compressions);
        let mirrored = Slots::new(process.max_mirrored);
        let udp_sessions = Arc::new(Places::new(process.max_udp_sessions));
        let version = snapshot.version;
        let snapshot = Arc::new(ArcSwap::from_pointee(snapshot));
        let tls = Arc::new(Tls::new().map_err(|error| refused(&error))?);
        let table = tls
            .plan(&snapshot.load().model, &tls_files)
            .map_err(|error| refused(&error))?;
        tls.commit(table, tls_files);
        let services = Services {
            snapshot: Arc::clone(&snapshot),
            tls: Arc::clone(&tls),
            metrics: Arc::clone(&metrics),
            access_log: Arc::clone(&access_log),
            audit_log: Arc::clone(&audit_log),
            budget: Arc::clone(&budget),
            compressions: Arc::clone(&compressions),
            mirrored: Arc::clone(&mirrored),
        };
        let ingress = Arc::new(Ingress::new(services));
        let tcp = TcpRelay::new(TcpServices {
            snapshot: Arc::clone(&snapshot),
            metrics: Arc::clone(&metrics),
            access_log: Arc::clone(&access_log),
        });
        let udp = UdpServices {
            snapshot: Arc::clone(&snapshot),
            metrics: Arc::clone(&metrics),
            access_log: Arc::clone(&access_log),
            ports: Arc::default(),
            sessions: Arc::clone(&udp_sessions),
        };
        let listeners = Listeners::new(
            Arc::clone(&ingress) as _,
            Arc::new(tcp),
            udp,
            Arc::clone(&tls),
            Arc::clone(&metrics),
            Arc::clone(&access_log),
        );
        let egress = EgressServers::new(EgressServices {
            snapshot: Arc::clone(&snapshot),
            metrics: Arc::clone(&metrics),
            audit_log: Arc::clone(&audit_log),
            decisions: decisions.clone(),
            test: options.egress_test,
        });
        let gateway = Self {
            inner: Arc::new(Inner {
                source,
                bound_file: options.bound_file,
                live,
                metrics,
                snapshot,
                tls,
                budget,
                compressions,
                mirrored,
                udp_sessions,
                access_log,
                audit_log,
                decisions,
                ingress,
                listeners,
                egress,
                servers: Mutex::default(),
                state: Mutex::new(LoadState {
                    at: Some(SystemTime::now()),
                    refused: settings_refused,
                    problems,
                    named_files,
                }),
                loading: tokio::sync::Mutex::default(),
                retry: Retry::default(),
                draining: AtomicBool::new(false),
                serves_objects: AtomicBool::new(settings.is_some()),
            }),
        };
        let inner = &gateway.inner;
        let serving = inner.snapshot.load_full();
        let plan = inner
            .listeners
            .plan(&serving.model.listeners)
            .map_err(|errors| Refused {
                problems: placed(listener_problems(&errors), &origins),
                named_files: Vec::new(),
            })?;
        let egress = inner
            .egress
            .plan(serving.model.egress.as_ref())
            .map_err(|problems| Refused {
                problems: placed(problems, &origins),
                named_files: Vec::new(),
            })?;
        gateway.bind_servers(&process).map_err(|problem| Refused {
            problems: placed(vec![*problem], &origins),
            named_files: Vec::new(),
        })?;
        inner.listeners.commit(plan);
        inner.egress.commit(egress);
        gateway.adopt(&serving);
        settings
            .into_iter()
            .for_each(|good| inner.source.accept(good));
        inner.metrics.load_accepted(version, counts);
        inner.metrics.load_took(began.elapsed());
        gateway.tell_problems();
        gateway.write_bound();
        tokio::spawn(watch(gateway.clone()));
        tracing::info!(version, "serving");
        Ok(gateway)
    }

    /// Loads the configuration again, also what could not be put in force; a refused one changes
    /// nothing.
    pub async fn reload(&self) {
        self.load_for(Cause::Asked).await;
    }

    async fn load_for(&self, cause: Cause) {
        let _one_at_a_time = self.inner.loading.lock().await;
        let inner = &self.inner;
        if matches!(cause, Cause::Asked | Cause::Again) {
            inner.source.try_again();
        }
        // A second time with the settings that served last, where those of now cannot be put
        // in force: or objects would stand still.
        let mut outcome = self.load_once(cause).await;
        if outcome == Outcome::GoesOnWithout {
            outcome = self.load_once(cause).await;
        }
        if inner.source.waits() {
            // It was set when to try again as that was found.
            return;
        }
        match outcome {
            Outcome::Refused { is_known } => self.try_later(cause, is_known),
            Outcome::Done | Outcome::GoesOnWithout => inner.retry.clear(),
        }
    }

    /// Loads, and tells what came of it.
    async fn load_once(&self, cause: Cause) -> Outcome {
        let inner = &self.inner;
        if inner.draining.load(Ordering::Relaxed) {
            inner.source.try_again();
            inner.source.settle();
            return Outcome::Done;
        }
        let began = Instant::now();
        let (before, tls_files) = (inner.snapshot.load_full(), inner.tls.files());
        let this = self.clone();
        // Rules may take long to compile; requests must not wait for that.
        let loaded = tokio::task::spawn_blocking(move || {
            let inner = &this.inner;
            let serving = Serving {
                snapshot: &before,
                tls_files: &tls_files,
            };
            load(&inner.source, &inner.live, &inner.metrics, Some(serving))
        })
        .await;
        let outcome = match loaded.unwrap_or_else(|_| Err(stopped())) {
            Ok(loaded) => {
                let settings = loaded.settings.clone();
                match self.accept(loaded, cause) {
                    Ok(outcome) => {
                        let serves = settings.is_some();
                        inner.serves_objects.store(serves, Ordering::Relaxed);
                        inner.source.settle();
                        outcome
                    }
                    Err(refused) => self.hold_back(settings, refused, cause),
                }
            }
            Err(refused) => {
                inner.source.settle();
                let is_known = self.is_known(&refused.problems);
                match is_known && !cause.tells_again() {
                    true => {
                        self.keep_series(&inner.snapshot.load());
                        lock(&inner.state).watch_more(refused.named_files);
                    }
                    false => self.refuse(refused),
                }
                Outcome::Refused { is_known }
            }
        };
        inner.metrics.load_took(began.elapsed());
        outcome
    }

    /// Has what was refused tried again later. What it was refused for may pass without a
    /// change that anybody tells of, as where no file could be opened.
    fn try_later(&self, cause: Cause, is_known: bool) {
        match cause {
            Cause::Again => self.inner.retry.failed(is_known),
            // The pause goes on that began when it was found.
            _ if is_known && !cause.tells_again() => {}
            _ => self.inner.retry.failed(false),
        }
    }

    /// Has what cannot be put in force tried again later. The settings that served last go on
    /// meanwhile, where there are others.
    fn hold_back(&self, settings: Option<Settings>, refused: Refused, cause: Cause) -> Outcome {
        let inner = &self.inner;
        let refusal = inner.source.refuse(settings, refused.problems.clone());
        self.try_later(cause, refusal.is_known);
        let is_told = refusal.is_known && !cause.tells_again();
        // With those that go on it is told of.
        match refusal.may_go_on || is_told {
            true => self.keep_series(&inner.snapshot.load()),
            false => self.refuse(refused),
        }
        match refusal.may_go_on {
            true => Outcome::GoesOnWithout,
            false => Outcome::Refused {
                is_known: refusal.is_known,
            },
        }
    }

    /// Puts a configuration in force.
    ///
    /// # Errors
    /// Why it cannot be: then it is refused.
    fn accept(&self, loaded: Loaded, cause: Cause) -> Result<Outcome, Refused> {
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
        // After the state: whoever sees the count finds what it counts.
        match unchanged {
            true => inner.metrics.load_unchanged(counts),
            false => inner.metrics.load_accepted(version, counts),
        }
        if !is_refused {
            inner.metrics.nothing_refused();
        }
        if is_refused && news {
            inner.metrics.load_refused(counts);
            tracing::error!("settings refused; the last good ones serve");
        }
        if good_again {
            tracing::info!("configuration good again, as it was before");
        }
        if news {
            self.tell_problems();
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
    fn is_known(&self, problems: &[Problem]) -> bool {
        let state = lock(&self.inner.state);
        state.refused.is_some() && state.problems == problems
    }

    fn refuse(&self, refused: Refused) {
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
        // After the state: whoever sees the count finds what it counts.
        inner.metrics.load_refused((errors, warnings));
        tracing::error!(errors, "configuration refused; the last good one serves");
        self.tell_problems();
    }

    /// Brings everything beside the snapshot in line with it.
    fn adopt(&self, snapshot: &Snapshot) {
        let inner = &self.inner;
        inner.live.adopt(snapshot, &inner.metrics);
        self.keep_series(snapshot);
        let process = &snapshot.model.process;
        inner
            .access_log
            .writer()
            .set_sink(process.access_log.clone());
        inner.audit_log.writer().set_sink(process.audit_log.clone());
        inner.audit_log.set_capacity(
            process.audit_records as usize,
            usize::try_from(process.audit_bytes).unwrap_or(usize::MAX),
        );
        inner.budget.set_limit(process.max_buffered_bytes);
        inner.compressions.set_limit(process.max_compressions);
        inner.mirrored.set_limit(process.max_mirrored);
        inner.udp_sessions.set_limit(process.max_udp_sessions);
        descriptors::tell(&snapshot.model);
        inner.ingress.adopt(snapshot);
        self.tell_certificates();
    }

    /// Forgets metrics of rules and backends that a snapshot does not have.
    fn keep_series(&self, snapshot: &Snapshot) {
        let metrics = &self.inner.metrics;
        let listeners = snapshot.model.listeners.iter();
        let listeners: HashSet<&str> = listeners.map(|known| known.name.as_str()).collect();
        metrics.keep_rules(
            |rule| snapshot.rule(rule).is_some(),
            |listener| listeners.contains(listener),
        );
        let backends = snapshot.backends().iter();
        let backends: HashSet<&str> = backends
            .map(|backend| backend.backend.name.as_str())
            .collect();
        metrics.keep_backends(|name| backends.contains(name));
    }

    fn tell_certificates(&self) {
        let files = self.inner.tls.files();
        let responses = files
            .certificates
            .facts()
            .filter_map(|facts| Some((facts.name.as_str(), facts.ocsp_until?)));
        self.inner.metrics.ocsp_responses(responses);
        self.inner.metrics.revocation_lists(files.crl_expiries());
        self.inner.metrics.certificates(
            files
                .certificates
                .facts()
                .map(|facts| (facts.name.as_str(), facts.not_after)),
        );
    }

    fn tell_problems(&self) {
        let problems = lock(&self.inner.state).problems.clone();
        if let Some(objects) = self.inner.source.objects() {
            objects.tell(&problems);
        }
        for problem in &problems {
            match problem.severity {
                Severity::Error => tracing::error!("{problem}"),
                Severity::Warning => tracing::warn!("{problem}"),
            }
        }
    }

    fn bind_servers(&self, process: &Process) -> Result<(), Box<Problem>> {
        let mut servers = lock(&self.inner.servers);
        let wanted = (process.management, process.admin.clone());
        if servers.addresses.as_ref() == Some(&wanted) {
            return Ok(());
        }
        let problem = |section: &str, address: String, error: std::io::Error| {
            let reason = format!("{section} cannot listen on {address}: {error}");
            let path = format!("{section}.address");
            Box::new(Problem::error(Origin::Internal, path, reason))
        };
        // A weak reference, or the server would keep the gateway that owns it.
        let weak = Arc::downgrade(&self.inner);
        let gone = || admin::Answer::text(503, "shutting down\n");
        if servers.addresses.as_ref().map(|known| known.0) != Some(wanted.0) {
            let view = weak.clone();
            let endpoint = move |path: &str, _: Option<&str>| {
                view.upgrade()
                    .map_or_else(gone, |inner| admin::management(&Self { inner }, path))
            };
            let server = AdminServer::tcp(wanted.0, Arc::new(endpoint), false)
                .map_err(|error| problem("management", wanted.0.to_string(), error))?;
            servers.management = Some(server);
        }
        if servers.addresses.as_ref().map(|known| &known.1) != Some(&wanted.1) {
            let endpoint = move |path: &str, query: Option<&str>| {
                weak.upgrade()
                    .map_or_else(gone, |inner| admin::admin(&Self { inner }, path, query))
            };
            let server = match &wanted.1 {
                AdminAddress::Tcp(address) => AdminServer::tcp(*address, Arc::new(endpoint), true)
                    .map_err(|error| problem("admin", address.to_string(), error))?,
                AdminAddress::Unix(path) => AdminServer::unix(path, Arc::new(endpoint))
                    .map_err(|error| problem("admin", path.display().to_string(), error))?,
            };
            servers.admin = Some(server);
        }
        servers.addresses = Some(wanted);
        Ok(())
    }

    /// Where everything listens, as JSON.
    pub fn bound(&self) -> Value {
        let servers = lock(&self.inner.servers);
        let map = |bound: Vec<(String, SocketAddr)>| -> Value {
            bound
                .into_iter()
                .map(|(name, address)| (name, Value::from(address.to_string())))
                .collect()
        };
        json!({
            "listeners": map(self.inner.listeners.bound()),
            "egress": map(self.inner.egress.bound()),
            "management": servers.management.as_ref().and_then(AdminServer::bound).map(|bound| bound.to_string()),
            "admin": servers.admin.as_ref().and_then(AdminServer::bound).map(|bound| bound.to_string()),
        })
    }

    fn write_bound(&self) {
        let Some(path) = &self.inner.bound_file else {
            return;
        };
        let part = path.with_extension("part");
        let written =
            fs::write(&part, self.bound().to_string()).and_then(|()| fs::rename(&part, path));
        if let Err(error) = written {
            tracing::error!(path = %path.display(), %error, "bound addresses not written");
        }
    }

    /// Decisions as they are made.
    pub fn decisions(&self) -> &Decisions {
        &self.inner.decisions
    }

    /// Opens log files again, after they were rotated.
    pub fn reopen_logs(&self) {
        self.inner.access_log.writer().reopen();
        self.inner.audit_log.writer().reopen();
    }

    /// Ends: stops accepting, lets what is open finish within the drain timeout,
    /// and returns how many connections were cut.
    pub async fn drain(&self) -> u32 {
        let inner = &self.inner;
        inner.draining.store(true, Ordering::Relaxed);
        let limit = inner.snapshot.load().model.process.drain_timeout;
        inner.listeners.stop();
        inner.egress.stop();
        let (ingress, egress) = tokio::join!(
            inner.listeners.wait_closed(limit),
            inner.egress.wait_closed(limit)
        );
        let left = ingress + egress;
        if left > 0 {
            tracing::warn!(
                connections = left,
                "drain timeout is over, connections are cut"
            );
        }
        inner.access_log.writer().flush();
        inner.audit_log.writer().flush();
        left
    }
}

impl AdminView for Gateway {
    fn unready(&self) -> Vec<String> {
        let objects = self.inner.source.objects();
        let mut reasons = objects.map_or_else(Vec::new, |objects| objects.unready());
        if objects.is_some() && !self.inner.serves_objects.load(Ordering::Relaxed) {
            reasons.push(match &lock(&self.inner.state).refused {
                // Where, and not what: others may read this than the log.
                Some(problem) => format!("the settings are refused, for {}", problem.origin),
                None => "the objects of the cluster are not known yet".into(),
            });
        }
        if self.inner.draining.load(Ordering::Relaxed) {
            reasons.push("draining".into());
        }
        reasons
    }

    fn remarks(&self) -> Vec<String> {
        let objects = self.inner.source.objects();
        let mut remarks = objects.map_or_else(Vec::new, |objects| objects.remarks());
        if let Some(problem) = &lock(&self.inner.state).refused {
            remarks.push(format!(
                "the configuration is refused, for {}; the last good one serves",
                problem.origin
            ));
        }
        remarks
    }

    fn metrics(&self) -> String {
        if let Some(objects) = self.inner.source.objects() {
            objects.measure(&self.inner.metrics);
        }
        self.inner
            .metrics
            .log_dropped("access", self.inner.access_log.writer().take_dropped());
        self.inner
            .metrics
            .log_dropped("audit", self.inner.audit_log.writer().take_dropped());
        self.inner.metrics.render()
    }

    fn config(&self) -> String {
        let snapshot = self.inner.snapshot.load_full();
        // Much text, where there is much configuration: others go on meanwhile.
        tokio::task::block_in_place(|| snapshot.yaml().to_owned())
    }

    fn problems(&self) -> Value {
        let snapshot = self.inner.snapshot.load();
        let state = lock(&self.inner.state);
        let seconds = |time: SystemTime| {
            time.duration_since(SystemTime::UNIX_EPOCH)
                .map_or(0, |since| since.as_secs())
        };
        json!({
            "serving": { "version": snapshot.version, "hash": snapshot.hash, "built": seconds(snapshot.built) },
            "lastLoad": { "at": state.at.map(seconds), "refused": state.refused.is_some() },
            "problems": state.problems,
        })
    }

    fn waf_traffic(&self) -> Value {
        let metrics = &self.inner.metrics;
        let mut rules = serde_json::Map::new();
        for ([rule], count) in metrics.requests_of_rules() {
            rules.insert(rule, json!({ "requests": count, "notInspected": [] }));
        }
        for ([rule, part, reason], count) in metrics.all_not_inspected() {
            let noted = json!({ "part": part, "reason": reason, "requests": count });
            let rule = rules
                .entry(rule)
                .or_insert_with(|| json!({ "requests": 0, "notInspected": [] }));
            if let Some(all) = rule["notInspected"].as_array_mut() {
                all.push(noted);
            }
        }
        json!({ "rules": rules })
    }

    fn audit(&self, request_id: Option<&str>, limit: usize) -> Value {
        match request_id {
            Some(id) => self.inner.audit_log.find(id).into(),
            None => self.inner.audit_log.last(limit).into(),
        }
    }
}

async fn watch(gateway: Gateway) {
    let named = lock(&gateway.inner.state).named_files.clone();
    let mut watcher = Watcher::start(gateway.inner.source.files().clone(), named);
    let objects = gateway.inner.source.objects().cloned();
    // The first time for what changed while the process started.
    let mut cause = Cause::Files(Change::Content);
    loop {
        let began = Instant::now();
        gateway.load_for(cause).await;
        // One that comes alone is served at once; of many, half of a core is left to others.
        let rested = Instant::now() + began.elapsed();
        watcher.set_others(lock(&gateway.inner.state).named_files.clone());
        let objects_changed = async {
            match &objects {
                Some(objects) => objects.changes().notified().await,
                None => std::future::pending().await,
            }
        };
        cause = tokio::select! {
            () = gateway.inner.retry.due() => Cause::Again,
            change = watcher.changed() => Cause::Files(change),
            () = objects_changed => {
                let rest = rested.saturating_duration_since(Instant::now());
                tokio::time::sleep(rest.max(SETTLE)).await;
                Cause::Objects
            }
        };
    }
}

fn listener_problems(errors: &[ListenError]) -> Vec<Problem> {
    let problem =
        |error: &ListenError| internal(format!("listeners[{}].address", error.index), error);
    errors.iter().map(problem).collect()
}

fn internal(path: String, error: &dyn std::fmt::Display) -> Problem {
    Problem::error(Origin::Internal, path, error.to_string())
}

/// Finds where what could not be put in force is written.
fn placed(mut problems: Vec<Problem>, origins: &Origins) -> Vec<Problem> {
    for problem in &mut problems {
        problem.origin = origins.locate(&problem.path);
        if problem.reason.contains("in use") {
            problem.hint = Some("another process has it; `ss -ltnp` tells which".into());
        }
    }
    problems
}

/// How many errors and warnings there are.
fn severities(problems: &[Problem]) -> (usize, usize) {
    let errors = problems
        .iter()
        .filter(|problem| problem.severity == Severity::Error)
        .count();
    (errors, problems.len() - errors)
}

/// What is told of a load that did not come to its end. Not what the fault says of itself: that
/// is on standard error, and may have more in it than everybody should read.
fn stopped() -> Refused {
    let reason = "loading the configuration broke off: a fault of the gateway itself";
    let hint = "standard error has where it was; what is right is tried again";
    let problem = Problem::error(Origin::Internal, "", reason).with_hint(Some(hint));
    Refused {
        problems: vec![problem],
        named_files: Vec::new(),
    }
}

fn refused(error: &std::io::Error) -> Refused {
    Refused {
        problems: vec![internal("process".into(), error)],
        named_files: Vec::new(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
