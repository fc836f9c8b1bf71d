//! Which TLS settings hold for a host.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use portcullis_config::{
    model::{Listener, ListenerProtocol, ListenerTls, Model, TlsSettings},
    route::HostTable,
};
use rustls::{crypto::aws_lc_rs::Ticketer, server::ServerSessionMemoryCache};

use super::{
    HostTls, TlsFiles,
    host::{Ingredients, Shared},
};

/// TLS 1.2 sessions remembered for resumption.
const SESSIONS: usize = 10_000;

/// TLS with the clients of every listener.
#[derive(Debug)]
pub struct Tls {
    shared: Shared,
    table: ArcSwap<TlsTable>,
    /// Tables made so far.
    generations: AtomicU64,
    /// Number of the table in force, for requests to look at first.
    generation: AtomicU64,
    /// Whether it has hosts that are not served in clear, for the same.
    guards_clear: AtomicBool,
}

/// The settings of every listener and host, as they are at one time.
#[derive(Debug, Default)]
pub struct TlsTable {
    /// Number of this table; no other has it.
    pub generation: u64,
    listeners: BTreeMap<String, Hosts>,
    /// Listeners of the egress proxy, whose clients ask for no host of ours.
    egress: BTreeMap<String, Arc<HostTls>>,
    /// By http listener, the hosts that need a certificate of their clients and
    /// so are not served in clear.
    not_in_clear: BTreeMap<String, HostTable<bool>>,
    /// Everything that was made, for the next table.
    made: Vec<Arc<HostTls>>,
}

/// The hosts of one https listener.
#[derive(Debug)]
struct Hosts {
    named: HostTable<Governed>,
    other: Governed,
    /// Whether TLS of some host is passed on.
    passes: bool,
}

/// What holds for a host.
#[derive(Clone, Debug)]
pub enum Governed {
    /// TLS ends here, with these settings.
    Terminated(Arc<HostTls>),
    /// TLS is passed on by the TCP route of this name.
    Passed(Arc<str>),
}

impl Governed {
    /// Whether clients must show a certificate here. Where TLS is passed on, that is for
    /// others to say.
    fn requires_certificate(&self) -> bool {
        match self {
            Self::Terminated(host) => host.requires_certificate(),
            Self::Passed(_) => false,
        }
    }
}

impl Tls {
    /// Makes TLS without listeners; ticket keys live as long as it does, so that
    /// clients resume their sessions across reloads.
    ///
    /// # Errors
    /// When the system gives no randomness for ticket keys.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            shared: Shared {
                files: Arc::default(),
                tickets: Ticketer::new().map_err(io::Error::other)?,
                sessions: ServerSessionMemoryCache::new(SESSIONS),
            },
            table: ArcSwap::default(),
            generations: AtomicU64::new(0),
            generation: AtomicU64::new(0),
            guards_clear: AtomicBool::new(false),
        })
    }

    /// Makes the table of a model and its files; nothing changes before [`Self::commit`].
    ///
    /// # Errors
    /// When the provider cannot do what is asked for.
    pub fn plan(&self, model: &Model, files: &TlsFiles) -> io::Result<TlsTable> {
        let before = self.table.load();
        let mut table = TlsTable {
            generation: self.generations.fetch_add(1, Ordering::Relaxed) + 1,
            ..TlsTable::default()
        };
        for listener in &model.listeners {
            match listener.protocol {
                ListenerProtocol::Http => table.add_clear(listener, model),
                ListenerProtocol::Tcp | ListenerProtocol::Udp => {}
                ListenerProtocol::Https => {
                    table.add(listener, model, files, &self.shared, &before)?;
                }
            }
        }
        for listener in model.egress.iter().flat_map(|egress| &egress.listeners) {
            if let Some(tls) = &listener.tls {
                let ingredients = ingredients(tls, &tls.settings, files, &self.shared);
                let made = table.make(ingredients, &self.shared, &before)?;
                table.egress.insert(listener.name.clone(), made);
            }
        }
        Ok(table)
    }

    /// Has new handshakes and requests go by this table and these files.
    pub fn commit(&self, table: TlsTable, files: TlsFiles) {
        let guards = !table.not_in_clear.is_empty() || table.requires_certificates();
        let generation = table.generation;
        self.shared.files.store(Arc::new(files));
        self.table.store(Arc::new(table));
        self.guards_clear.store(guards, Ordering::Release);
        self.generation.store(generation, Ordering::Release);
    }

    /// Number of the table in force.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Whether a host must not be served by an http listener.
    ///
    /// Its route is served on the listeners `served_on`, or on all where these are none.
    pub fn refuses_in_clear(&self, listener: &str, host: &str, served_on: &[String]) -> bool {
        self.guards_clear.load(Ordering::Acquire)
            && self
                .table
                .load()
                .refuses_in_clear(listener, host, served_on)
    }

    /// The files that it goes by.
    pub fn files(&self) -> Arc<TlsFiles> {
        self.shared.files.load_full()
    }

    /// The table of now.
    pub fn table(&self) -> arc_swap::Guard<Arc<TlsTable>> {
        self.table.load()
    }

    /// Tells whether there is a certificate for a client that asks for this name.
    pub fn serves(&self, sni: Option<&str>, default: Option<&str>) -> bool {
        let files = self.shared.files.load();
        files.certificates.find(sni, default).is_some()
    }
}

impl TlsTable {
    fn add(
        &mut self,
        listener: &Listener,
        model: &Model,
        files: &TlsFiles,
        shared: &Shared,
        before: &Self,
    ) -> io::Result<()> {
        let own = &listener.tls.settings;
        let mut make = |settings: TlsSettings| {
            let ingredients = ingredients(&listener.tls, &settings, files, shared);
            let host = self.make(ingredients, shared, before)?;
            Ok::<_, io::Error>(Governed::Terminated(host))
        };
        let other = make(own.clone())?;
        let mut named = HostTable::default();
        for policy in &model.tls_policies {
            if !policy.holds_on(&listener.name) {
                continue;
            }
            let governed = make(policy.over(own))?;
            for host in &policy.hosts {
                // Validation has seen to it that each stands once.
                named.entry(host).or_insert_with(|| governed.clone());
            }
        }
        let mut passes = false;
        for route in model
            .tcp_routes
            .iter()
            .filter(|route| route.holds_on(listener))
        {
            passes = true;
            let name: Arc<str> = route.name.as_str().into();
            for host in &route.hosts {
                let governed = Governed::Passed(Arc::clone(&name));
                named.entry(host).or_insert(governed);
            }
        }
        let hosts = Hosts {
            named,
            other,
            passes,
        };
        self.listeners.insert(listener.name.clone(), hosts);
        Ok(())
    }

    /// Takes what was made before for the same, or makes it.
    fn make(
        &mut self,
        ingredients: Ingredients<'_>,
        shared: &Shared,
        before: &Self,
    ) -> io::Result<Arc<HostTls>> {
        let is_same = |made: &&Arc<HostTls>| made.is_made_of(&ingredients);
        let here = self.made.iter().find(is_same).cloned();
        if let Some(here) = here {
            return Ok(here);
        }
        let host = match before.made.iter().find(is_same) {
            Some(known) => Arc::clone(known),
            None => Arc::new(HostTls::new(ingredients, shared)?),
        };
        self.made.push(Arc::clone(&host));
        Ok(host)
    }

    fn add_clear(&mut self, listener: &Listener, model: &Model) {
        let mut hosts = HostTable::default();
        for policy in &model.tls_policies {
            // What a policy leaves out is that of the listeners where it holds.
            let required = model.listeners.iter().any(|other| {
                other.protocol == ListenerProtocol::Https
                    && policy.holds_on(&other.name)
                    && policy
                        .over(&other.tls.settings)
                        .client_certificates
                        .is_some_and(|wanted| wanted.required)
            });
            if policy.holds_on(&listener.name) {
                for host in &policy.hosts {
                    hosts.entry(host).or_insert(required);
                }
            }
        }
        // A host that another policy excepts from a wider one stays excepted.
        if hosts.values_mut().any(|required| *required) {
            self.not_in_clear.insert(listener.name.clone(), hosts);
        }
    }

    /// What holds for a host of an https listener; a client that names none gets
    /// what holds for those without settings of their own. `None` where there is
    /// no such listener.
    pub fn find(&self, listener: &str, host: Option<&str>) -> Option<&Governed> {
        let hosts = self.listeners.get(listener)?;
        let named = host.and_then(|host| hosts.named.find(host));
        Some(named.unwrap_or(&hosts.other))
    }

    /// What holds on a listener of the egress proxy, where it speaks TLS.
    pub fn egress(&self, listener: &str) -> Option<&Arc<HostTls>> {
        self.egress.get(listener)
    }

    /// Whether TLS of some host of a listener is passed on.
    pub fn passes(&self, listener: &str) -> bool {
        self.listeners
            .get(listener)
            .is_some_and(|hosts| hosts.passes)
    }

    fn refuses_in_clear(&self, listener: &str, host: &str, served_on: &[String]) -> bool {
        let hosts = self.not_in_clear.get(listener);
        let named = hosts.is_some_and(|hosts| hosts.find(host).is_some_and(|required| *required));
        // What needs a certificate on one listener is not to be had without on the next.
        let elsewhere = || {
            self.listeners.iter().any(|(listener, hosts)| {
                (served_on.is_empty() || served_on.contains(listener))
                    && hosts.named.find(host).is_none()
                    && hosts.other.requires_certificate()
            })
        };
        named || elsewhere()
    }

    fn requires_certificates(&self) -> bool {
        self.made.iter().any(|host| host.requires_certificate())
    }
}

/// What is needed for some hosts of a listener.
fn ingredients<'a>(
    listener: &'a ListenerTls,
    settings: &'a TlsSettings,
    files: &'a TlsFiles,
    shared: &'a Shared,
) -> Ingredients<'a> {
    Ingredients {
        settings,
        default_certificate: &listener.default_certificate,
        verifier: settings
            .client_certificates
            .as_ref()
            .and_then(|wanted| files.verifier(wanted.trust.as_ref()?)),
        tickets: files
            .tickets(&listener.ticket_keys)
            .unwrap_or(&shared.tickets),
    }
}
