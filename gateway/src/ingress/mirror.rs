//! Copies of requests for other backends.
//!
//! ```text
//! first attempt --begin--> drawn, small enough? --collect--> the body as it passes
//!                            \                           end --> sent by a task of its own, answer thrown away
//!                             \-without its body, at once--------^
//! ```
//!
//! Nothing here is waited for, and no failure reaches the request. What is drawn
//! and not sent is counted.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};

use super::{
    Ingress, RequestContext, Session,
    context::HeldBody,
    forward::{self, Framed, HeadCopy},
};
use crate::{
    inspect::{self, Hold},
    slots::Slot,
    snapshot::{Chosen, CompiledMirror, CompiledRule, Preference},
    upstream::{Connection, Event, Fault, FaultKind, Framing, Patience, Reuse, Target},
};

/// Bytes of an answer that are read away so that its connection can be kept.
const MAX_ANSWER: usize = 1 << 20;

/// Time for a copy and its answer.
const MAX_TIME: Duration = Duration::from_secs(60);

/// A request that is being copied.
pub(super) struct Mirroring {
    ingress: Ingress,
    /// Who gets it; one whose limit the body exceeds is taken out.
    mirrors: Vec<CompiledMirror>,
    head: HeadCopy,
    body: BytesMut,
    hold: Hold,
    bodiless: bool,
    times: Times,
}

/// How long the endpoint of a copy may take.
#[derive(Clone, Copy)]
struct Times {
    connect: Duration,
    patience: Patience,
}

/// A copy, to be sent.
struct Copy {
    head: HeadCopy,
    body: Bytes,
    framing: Framing,
    times: Times,
    _hold: Hold,
}

impl Ingress {
    /// Copies a request whose head has been sent to its backend, as far as it is
    /// drawn by a mirror of its rule; `done` where its body is there already.
    pub(super) fn begin_mirroring(
        &self,
        session: &Session,
        ctx: &mut RequestContext,
        rule: &CompiledRule,
        framed: &Framed,
        done: bool,
    ) {
        // Once for each request, whatever becomes of its first attempt.
        if std::mem::replace(&mut ctx.mirrored, true)
            || framed.upgrade
            || inspect::request_body_is_opaque(session, true)
        {
            return;
        }
        let drawn = |mirror: &&CompiledMirror| fastrand::u32(..1_000_000) < mirror.per_million;
        let drawn = rule.mirrors.iter().filter(drawn).cloned();
        let (mirrors, bodiless): (Vec<_>, Vec<_>) = drawn.partition(|mirror| mirror.copies_body);
        if !bodiless.is_empty() {
            let copy = self.mirroring(bodiless, session, ctx, rule, framed);
            copy.send(Bytes::new());
        }
        if mirrors.is_empty() {
            return;
        }
        let mut mirroring = self.mirroring(mirrors, session, ctx, rule, framed);
        if let Framing::Length(length) = framed.framing {
            mirroring.fit(length);
        }
        match &ctx.held {
            // The bytes are shared.
            HeldBody::Whole(body, _) => {
                if !mirroring.hold.grow_spare(body.len() as u64) {
                    mirroring.drop_all("buffers_spent");
                }
                mirroring.send(body.clone());
            }
            HeldBody::Prefix(bytes, _) | HeldBody::Unseen(bytes, _) => {
                mirroring.collect(bytes);
                ctx.mirroring = Some(Box::new(mirroring));
            }
            HeldBody::None if done => mirroring.send(Bytes::new()),
            HeldBody::None => ctx.mirroring = Some(Box::new(mirroring)),
        }
    }

    fn mirroring(
        &self,
        mirrors: Vec<CompiledMirror>,
        session: &Session,
        ctx: &RequestContext,
        rule: &CompiledRule,
        framed: &Framed,
    ) -> Mirroring {
        let timeouts = &rule.rule.policies.timeouts;
        Mirroring {
            ingress: self.clone(),
            mirrors,
            head: forward::copy_head(session, ctx, rule),
            body: BytesMut::new(),
            hold: self.services().budget.hold(),
            bodiless: framed.framing == Framing::None,
            times: Times {
                connect: timeouts.connect,
                patience: Patience {
                    read: Some(timeouts.read),
                    write: timeouts.write,
                },
            },
        }
    }
}

/// Takes a part of a request's body; the copies leave with the last.
pub(super) fn collect(ctx: &mut RequestContext, part: &Bytes, done: bool) {
    if let Some(mirroring) = &mut ctx.mirroring {
        mirroring.collect(part);
    }
    if done && let Some(mut mirroring) = ctx.mirroring.take() {
        let body = std::mem::take(&mut mirroring.body).freeze();
        mirroring.send(body);
    }
}

impl Mirroring {
    /// Gives up a body that did not come to its end.
    pub(super) fn give_up(mut self) {
        self.drop_all("incomplete");
    }

    fn collect(&mut self, part: &[u8]) {
        self.fit((self.body.len() + part.len()) as u64);
        if self.mirrors.is_empty() {
            self.body = BytesMut::new();
        } else if self.hold.grow_spare(part.len() as u64) {
            self.body.extend_from_slice(part);
        } else {
            self.drop_all("buffers_spent");
            self.body = BytesMut::new();
        }
    }

    /// Takes out the mirrors that copy no body of this length.
    fn fit(&mut self, length: u64) {
        let metrics = &self.ingress.services().metrics;
        self.mirrors.retain(|mirror| {
            let fits = length <= mirror.max_body_size;
            if !fits {
                metrics.mirrored(&mirror.backend.backend.name, "too_large");
            }
            fits
        });
    }

    fn drop_all(&mut self, outcome: &'static str) {
        let metrics = &self.ingress.services().metrics;
        for mirror in self.mirrors.drain(..) {
            metrics.mirrored(&mirror.backend.backend.name, outcome);
        }
    }

    /// Sends the copies, as many as may be on their way.
    fn send(self, body: Bytes) {
        let framing = match self.bodiless {
            true => Framing::None,
            false => Framing::Length(body.len() as u64),
        };
        let copy = Arc::new(Copy {
            head: self.head,
            body,
            framing,
            times: self.times,
            _hold: self.hold,
        });
        for mirror in self.mirrors {
            let services = self.ingress.services();
            match services.mirrored.take() {
                None => {
                    let name = &mirror.backend.backend.name;
                    services.metrics.mirrored(name, "over_limit");
                }
                Some(slot) => {
                    let (ingress, copy) = (self.ingress.clone(), Arc::clone(&copy));
                    tokio::spawn(async move { deliver(&ingress, &mirror, &copy, slot).await });
                }
            }
        }
    }
}

/// Sends one copy and counts what became of it.
async fn deliver(ingress: &Ingress, mirror: &CompiledMirror, copy: &Copy, slot: Slot) {
    let sent = tokio::time::timeout(MAX_TIME, send(ingress, mirror, copy)).await;
    let outcome = sent.unwrap_or("failed");
    let name = &mirror.backend.backend.name;
    ingress.services().metrics.mirrored(name, outcome);
    drop(slot);
}

async fn send(ingress: &Ingress, mirror: &CompiledMirror, copy: &Copy) -> &'static str {
    let backend = &mirror.backend;
    // What its limits do not let in at once is not worth waiting for.
    let Some(_place) = backend.gate().try_enter() else {
        return "overloaded";
    };
    let chosen = backend.choose(&[], Preference::default());
    let Some(Chosen { endpoint, .. }) = chosen else {
        return "no_endpoint";
    };
    let _at_work = endpoint.begin();
    let target = Target {
        backend,
        endpoint: &endpoint,
        connect: copy.times.connect,
        reach: copy.times.connect,
    };
    for reuse in [Reuse::Pooled, Reuse::Never] {
        let (mut connection, reused) = match ingress.connector().open(&target, reuse).await {
            Ok(opened) => opened,
            Err(fault) => {
                tracing::debug!(%fault, backend = %backend.backend.name, "mirror not reached");
                return "connect_failed";
            }
        };
        let answered = converse(&mut connection, copy).await;
        // One whose answer was not read to its end is closed.
        ingress.connector().release(connection, &target);
        let Err(fault) = answered else {
            return "answered";
        };
        tracing::debug!(%fault, backend = %backend.backend.name, "mirror failed");
        if !reused || fault.kind != FaultKind::Closed || !copy.head.is_idempotent() {
            break;
        }
    }
    "failed"
}

async fn converse(connection: &mut Connection, copy: &Copy) -> Result<(), Fault> {
    copy.head.send(connection, copy.framing)?;
    connection.send_body(copy.body.clone(), true);
    let mut read = 0;
    while read < MAX_ANSWER {
        match connection.next(copy.times.patience).await? {
            Event::Head { end: true, .. } | Event::Data { end: true, .. } | Event::Trailers(_) => {
                break;
            }
            Event::Data { bytes, .. } => read += bytes.len(),
            Event::Head { .. } | Event::Progress => {}
        }
    }
    Ok(())
}
