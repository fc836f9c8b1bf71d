//! The start of a gateway: from its options to sockets that listen.

use std::{
    sync::{Arc, Mutex, OnceLock, atomic::AtomicBool},
    time::{Instant, SystemTime},
};

use arc_swap::ArcSwap;

use super::{
    Gateway, GatewayOptions, Inner, LoadState,
    apply::{internal, listener_problems, placed, severities},
    reload::watch,
};
use crate::{
    descriptors,
    egress::{EgressServers, EgressServices},
    files::ConfigFiles,
    ingress::{Ingress, Services},
    inspect::BodyBudget,
    listen::Listeners,
    load::{Loaded, Refused, load},
    places::Places,
    relay,
    retry::Retry,
    slots::Slots,
    snapshot::Live,
    source::Source,
    tcp::{TcpRelay, TcpServices},
    telemetry::{AccessLog, AuditLog, Decisions, LogWriter, Metrics},
    tls::Tls,
    udp::UdpServices,
};

impl Gateway {
    /// Starts a gateway; to be called on a multi-thread runtime.
    ///
    /// # Errors
    /// When the first configuration is refused, or an address cannot be bound.
    pub fn start(options: GatewayOptions) -> Result<Self, Refused> {
        let began = Instant::now();
        descriptors::raise();
        if !options.egress_test.is_empty() {
            tracing::warn!(
                "the egress proxy answers some destinations from a test script, not from the network"
            );
        }
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
        relay::set_max_pipes(process.max_relay_pipes);
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
            tls: Arc::clone(&tls),
            decisions: decisions.clone(),
            pods: source.objects().and_then(|objects| objects.pods()),
            budget: Arc::clone(&budget),
            reviewer: source
                .objects()
                .and_then(|objects| objects.token_reviewer()),
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
                egress_tried: AtomicBool::new(false),
                egress_proved: OnceLock::new(),
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
}

fn refused(error: &std::io::Error) -> Refused {
    Refused {
        problems: vec![internal("process".into(), error)],
        named_files: Vec::new(),
    }
}
