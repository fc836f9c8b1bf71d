//! Connections of a server that has no more than so many at once.
//!
//! API servers keep theirs for the next question, and others may reach the port. So one that does nothing makes
//! room for one that comes: first those that have never asked, then the one whose last answer is longest ago.
//! Where all ask, without a pause, each is closed behind the answer that it waits for, for as long as one comes.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};

/// Time for a connection to end that makes room, before another one is looked for.
const ROOM: Duration = Duration::from_millis(50);
/// For how long an answer may be on its way yet.
const ON_ITS_WAY: Duration = Duration::from_secs(1);

/// All connections.
#[derive(Debug)]
pub(super) struct Connections {
    permits: Arc<Semaphore>,
    /// Whether one comes and there is no room.
    comes: AtomicBool,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    last: u64,
    by_number: BTreeMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    state: State,
    since: Instant,
    end: Arc<Notify>,
}

/// What a connection does; those that may end come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    /// It has asked nothing yet.
    New,
    /// It has its answer.
    Idle,
    /// It waits for an answer.
    Busy,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Connection {
    number: u64,
    all: Arc<Connections>,
    asked: Notify,
    end: Arc<Notify>,
    _permit: OwnedSemaphorePermit,
}

/// A question, until it is dropped.
#[derive(Debug)]
pub(super) struct Question<'a>(&'a Connection);

impl Connections {
    /// No more than `max` at once.
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            permits: Arc::new(Semaphore::new(max)),
            comes: AtomicBool::new(false),
            known: Mutex::default(),
        })
    }

    /// Adds one, as soon as there is room. Where there is none, one that does nothing ends.
    pub(super) async fn enter(self: &Arc<Self>) -> Connection {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return self.add(permit);
        }
        self.comes.store(true, Ordering::Relaxed);
        loop {
            self.end_one();
            // Where all wait for answers there is none to end until one of them has it.
            let room = Arc::clone(&self.permits).acquire_owned();
            if let Ok(Ok(permit)) = timeout(ROOM, room).await {
                self.comes.store(false, Ordering::Relaxed);
                return self.add(permit);
            }
        }
    }

    fn add(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Connection {
        let end = Arc::new(Notify::new());
        let mut known = self.known();
        known.last += 1;
        let number = known.last;
        let entry = Entry {
            state: State::New,
            since: Instant::now(),
            end: Arc::clone(&end),
        };
        known.by_number.insert(number, entry);
        Connection {
            number,
            all: Arc::clone(self),
            asked: Notify::new(),
            end,
            _permit: permit,
        }
    }

    fn end_one(&self) {
        let known = self.known();
        let may_end = known.by_number.values();
        let may_end = may_end.filter(|entry| match entry.state {
            State::New => true,
            State::Idle => entry.since.elapsed() >= ON_ITS_WAY,
            State::Busy => false,
        });
        if let Some(entry) = may_end.min_by_key(|entry| (entry.state, entry.since)) {
            entry.end.notify_one();
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// Notes that a question is asked.
    pub(super) fn ask(&self) -> Question<'_> {
        self.turn(State::Busy);
        self.asked.notify_one();
        Question(self)
    }

    /// Whether it is to end behind an answer, since another one comes.
    pub(super) fn is_in_the_way(&self) -> bool {
        self.all.comes.load(Ordering::Relaxed)
    }

    /// Waits for the first question.
    pub(super) async fn asked(&self) {
        self.asked.notified().await;
    }

    /// Waits until it makes room for another one.
    pub(super) async fn ends(&self) {
        loop {
            self.end.notified().await;
            // A question may have come meanwhile.
            let is_busy = |entry: &Entry| entry.state == State::Busy;
            if !self
                .all
                .known()
                .by_number
                .get(&self.number)
                .is_some_and(is_busy)
            {
                return;
            }
        }
    }

    fn turn(&self, state: State) {
        if let Some(entry) = self.all.known().by_number.get_mut(&self.number) {
            (entry.state, entry.since) = (state, Instant::now());
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.all.known().by_number.remove(&self.number);
    }
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        self.0.turn(State::Idle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a connection is told to end, also when no answer is on its way any more.
    async fn is_ended(connection: &Connection) -> bool {
        timeout(ON_ITS_WAY * 2, connection.ends()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_never_asked_makes_room_first_and_then_what_is_idle_longest() {
        let connections = Connections::new(4);
        let busy = connections.enter().await;
        let _question = busy.ask();
        let first = connections.enter().await;
        drop(first.ask());
        let second = connections.enter().await;
        drop(second.ask());
        tokio::time::advance(Duration::from_millis(1)).await;
        drop(first.ask());
        let silent = connections.enter().await;
        let came = tokio::spawn({
            let connections = Arc::clone(&connections);
            async move { connections.enter().await }
        });
        assert!(is_ended(&silent).await, "it has never asked");
        drop(silent);
        let came = came.await.expect("there is room");
        drop(came.ask());
        let next = tokio::spawn({
            let connections = Arc::clone(&connections);
            async move { connections.enter().await }
        });
        assert!(is_ended(&second).await, "its answer is longest ago");
        assert!(!is_ended(&busy).await && !is_ended(&first).await);
        assert!(!next.is_finished(), "four are the most");
        drop(second);
        next.await.expect("there is room");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_may_be_on_its_way_yet() {
        let connections = Connections::new(1);
        let idle = connections.enter().await;
        drop(idle.ask());
        let came = tokio::spawn({
            let connections = Arc::clone(&connections);
            async move { connections.enter().await }
        });
        let soon = timeout(ON_ITS_WAY / 2, idle.ends()).await;
        assert!(soon.is_err(), "it is written still");
        assert!(is_ended(&idle).await);
        drop(idle);
        came.await.expect("there is room");
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_for_an_answer_is_waited_for() {
        let connections = Connections::new(1);
        let busy = connections.enter().await;
        let question = busy.ask();
        assert!(!busy.is_in_the_way());
        assert!(timeout(ROOM * 3, connections.enter()).await.is_err());
        assert!(!is_ended(&busy).await);
        assert!(busy.is_in_the_way(), "it ends behind its answer");
        drop(question);
        let came = tokio::spawn({
            let connections = Arc::clone(&connections);
            async move { connections.enter().await }
        });
        assert!(is_ended(&busy).await);
        drop(busy);
        came.await.expect("there is room");
    }
}
