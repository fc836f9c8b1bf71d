//! How many requests a backend is given at once, and who waits for the next place.
//!
//! ```text
//! enter --place is free--> Place --dropped--> to who waits longest
//!   |                                              ^
//!   +--none is free--> queue, bounded in length and time
//! ```
//!
//! Where nobody waits, entering and leaving are one atomic step each.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use prometheus::IntGauge;
use tokio::sync::oneshot;

/// The places of one backend; they outlive a reload.
#[derive(Debug)]
pub struct Gate {
    places: AtomicUsize,
    taken: AtomicUsize,
    /// Length of the queue, to be seen without its lock.
    waiting: AtomicUsize,
    queue: Mutex<VecDeque<oneshot::Sender<Place>>>,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub struct Place(Arc<Gate>);

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPlace {
    /// As many wait as may.
    QueueFull,
    /// None became free in time.
    TimedOut,
}

/// How long a queue may be, in requests and in time.
#[derive(Clone, Copy, Debug)]
pub struct Queueing<'a> {
    /// Requests that wait at most.
    pub length: usize,
    /// How long one waits at most.
    pub time: Duration,
    /// Told of those that wait.
    pub gauge: &'a IntGauge,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, SeqCst);
        if self.0.waiting.load(SeqCst) > 0 {
            let mut queue = self.0.queue();
            self.0.serve(&mut queue);
        }
    }
}

impl Default for Gate {
    /// A gate without a limit.
    fn default() -> Self {
        Self::new(usize::MAX)
    }
}

impl Gate {
    /// Makes a gate.
    pub fn new(places: usize) -> Self {
        Self {
            places: AtomicUsize::new(places),
            taken: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            queue: Mutex::default(),
        }
    }

    /// Changes the number of places. Fewer than are taken hurt nobody who has one.
    pub fn resize(self: &Arc<Self>, places: usize) {
        if self.places.swap(places, SeqCst) < places {
            let mut queue = self.queue();
            self.serve(&mut queue);
        }
    }

    /// Takes a place, where one is free and nobody waits.
    pub fn try_enter(self: &Arc<Self>) -> Option<Place> {
        if self.waiting.load(SeqCst) > 0 {
            return None;
        }
        self.take()
    }

    /// Waits for a place; who came first gets the next.
    ///
    /// # Errors
    /// When the queue is full, or the time is over.
    pub async fn enter(self: &Arc<Self>, queueing: Queueing<'_>) -> Result<Place, NoPlace> {
        let place = {
            let mut queue = self.queue();
            if queue.len() >= queueing.length {
                queue.retain(|waiter| !waiter.is_closed());
            }
            if queue.len() >= queueing.length {
                // One that became free meanwhile is as good as a place in the queue.
                return match queue.is_empty() {
                    true => self.take().ok_or(NoPlace::QueueFull),
                    false => Err(NoPlace::QueueFull),
                };
            }
            let (give, place) = oneshot::channel();
            queue.push_back(give);
            self.waiting.store(queue.len(), SeqCst);
            // A place that was given back before we were seen to wait.
            self.serve(&mut queue);
            place
        };
        let waits = Waits::new(queueing.gauge);
        let given = tokio::time::timeout(queueing.time, place).await;
        drop(waits);
        match given {
            Ok(Ok(place)) => Ok(place),
            _ => Err(NoPlace::TimedOut),
        }
    }

    fn take(self: &Arc<Self>) -> Option<Place> {
        let places = self.places.load(SeqCst);
        let more = |taken: usize| (taken < places).then_some(taken + 1);
        self.taken
            .fetch_update(SeqCst, SeqCst, more)
            .ok()
            .map(|_| Place(Arc::clone(self)))
    }

    /// Gives free places to those who wait, the first first.
    fn serve(self: &Arc<Self>, queue: &mut VecDeque<oneshot::Sender<Place>>) {
        let mut free = None;
        while !queue.is_empty() {
            let Some(place) = free.take().or_else(|| self.take()) else {
                break;
            };
            let Some(waiter) = queue.pop_front() else {
                break;
            };
            // Who has gone gets none; the place goes to the next.
            free = waiter.send(place).err();
        }
        self.waiting.store(queue.len(), SeqCst);
        // What is free still is given up only now: nobody waits any more, so that
        // giving it up does not ask for the queue again.
        drop(free);
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<oneshot::Sender<Place>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody waits, until this is dropped.
struct Waits<'a>(&'a IntGauge);

impl<'a> Waits<'a> {
    fn new(gauge: &'a IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gauge() -> IntGauge {
        IntGauge::new("waiting", "waiting").expect("a name")
    }

    fn queueing(gauge: &IntGauge, length: usize, millis: u64) -> Queueing<'_> {
        Queueing {
            length,
            time: Duration::from_millis(millis),
            gauge,
        }
    }

    /// Starts waiting, and comes back once it is in the queue.
    async fn queue_up(gate: &Arc<Gate>, name: u32, done: &Arc<Mutex<Vec<u32>>>) {
        let before = gate.waiting.load(SeqCst);
        let (gate_, done) = (Arc::clone(gate), Arc::clone(done));
        tokio::spawn(async move {
            let gauge = gauge();
            let place = gate_.enter(queueing(&gauge, 10, 60_000)).await;
            done.lock().expect("not poisoned").push(name);
            drop(place);
        });
        while gate.waiting.load(SeqCst) == before {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn who_came_first_gets_the_next_place() {
        let (gate, done) = (Arc::new(Gate::new(1)), Arc::default());
        let place = gate.try_enter().expect("a free place");
        assert!(gate.try_enter().is_none());
        for name in 0..5 {
            queue_up(&gate, name, &done).await;
        }
        drop(place);
        while done.lock().expect("not poisoned").len() < 5 {
            // Nobody who comes now goes before those who wait.
            tokio::task::yield_now().await;
        }
        assert_eq!(*done.lock().expect("not poisoned"), [0, 1, 2, 3, 4]);
        assert!(gate.try_enter().is_some());
        assert_eq!(gate.taken.load(SeqCst), 0);
    }

    #[tokio::test]
    async fn a_queue_has_an_end_in_length_and_in_time() {
        let (gate, gauge) = (Arc::new(Gate::new(1)), gauge());
        let place = gate.try_enter().expect("a free place");
        let full = gate.enter(queueing(&gauge, 0, 60_000)).await;
        assert_eq!(full.expect_err("no queue"), NoPlace::QueueFull);
        let late = gate.enter(queueing(&gauge, 1, 5)).await;
        assert_eq!(late.expect_err("no place"), NoPlace::TimedOut);
        // Who has gone takes no room in the queue.
        let late = gate.enter(queueing(&gauge, 1, 5)).await;
        assert_eq!(late.expect_err("no place"), NoPlace::TimedOut);
        drop(place);
        assert_eq!(gate.taken.load(SeqCst), 0);
        assert_eq!(gauge.get(), 0);
        assert!(gate.try_enter().is_some());
    }

    #[tokio::test]
    async fn a_waiter_that_goes_away_passes_its_place_on() {
        let (gate, done) = (Arc::new(Gate::new(1)), Arc::default());
        let place = gate.try_enter().expect("a free place");
        let gauge = gauge();
        {
            let mut gone = Box::pin(gate.enter(queueing(&gauge, 10, 60_000)));
            assert!(futures_util::poll!(gone.as_mut()).is_pending());
            queue_up(&gate, 1, &done).await;
        }
        drop(place);
        while done.lock().expect("not poisoned").is_empty() {
            tokio::task::yield_now().await;
        }
        assert!(gate.try_enter().is_some());
        assert_eq!(gate.taken.load(SeqCst), 0);
    }

    #[tokio::test]
    async fn more_places_serve_who_waits_and_fewer_hurt_nobody() {
        let (gate, done) = (Arc::new(Gate::new(1)), Arc::default());
        let place = gate.try_enter().expect("a free place");
        queue_up(&gate, 1, &done).await;
        gate.resize(2);
        while done.lock().expect("not poisoned").is_empty() {
            tokio::task::yield_now().await;
        }
        let other = gate.try_enter().expect("the second");
        gate.resize(1);
        drop(other);
        assert!(gate.try_enter().is_none());
        drop(place);
        assert!(gate.try_enter().is_some());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn no_place_is_lost_or_made_under_load() {
        let gate = Arc::new(Gate::new(3));
        let inside = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..64)
            .map(|_| {
                let (gate, inside) = (Arc::clone(&gate), Arc::clone(&inside));
                tokio::spawn(async move {
                    let gauge = gauge();
                    for turn in 0..200u64 {
                        let place = match gate.try_enter() {
                            Some(place) => Ok(place),
                            // Some give up just when they are served.
                            None => gate.enter(queueing(&gauge, 100, turn % 3)).await,
                        };
                        if let Ok(place) = place {
                            assert!(inside.fetch_add(1, SeqCst) < 3);
                            tokio::task::yield_now().await;
                            inside.fetch_sub(1, SeqCst);
                            drop(place);
                        }
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("no panic");
        }
        assert_eq!(gate.taken.load(SeqCst), 0);
        assert!(gate.try_enter().is_some());
    }
}
