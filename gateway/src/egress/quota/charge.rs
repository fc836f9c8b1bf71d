//! What one tunnel or plain request takes of quotas.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use portcullis_config::{
    egress::{Allowance, Client, Refused},
    model::EgressMode,
};

use super::{Count, Quotas, SWEEP, Spent, Who, lock};
use crate::relay::Meter;

const BYTES_OUT: &str = "quota_bytes_out";

/// What is taken of quotas for as long as something is open. Dropped, it gives its places back.
#[derive(Debug)]
pub(in crate::egress) struct Charge {
    quotas: Arc<Quotas>,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    counts: Vec<Counted>,
    /// What a policy that does not enforce would have refused.
    told: Option<Refused>,
    /// Whether bytes were not sent: what lacks them cannot go on in another window.
    is_cut: bool,
}

/// A count, and the quota that it is held to.
#[derive(Debug)]
struct Counted {
    allowance: Allowance,
    count: Arc<Mutex<Count>>,
}

/// A quota has nothing left.
#[derive(Debug)]
pub(in crate::egress) struct Unpaid {
    /// Which, and what of it.
    pub(in crate::egress) refused: Refused,
    /// When it may have.
    pub(in crate::egress) retry_after: Duration,
}

impl Charge {
    pub(in crate::egress) fn new(quotas: Arc<Quotas>) -> Self {
        Self {
            quotas,
            held: Mutex::default(),
        }
    }

    /// Takes of all these quotas, or of none, in place of what is held. The rate counts what is
    /// new alone.
    ///
    /// # Errors
    /// One of a policy that enforces has nothing left, or there is no room to count it: of several
    /// the one to wait for longest. Nothing is held then.
    pub(in crate::egress) fn take(
        &self,
        client: Client<'_>,
        quotas: &[Allowance],
        is_new: bool,
        max_counts: u32,
        now: Instant,
    ) -> Result<(), Unpaid> {
        let mut held = lock(&self.held);
        if quotas.is_empty() && held.counts.is_empty() {
            return Ok(());
        }
        let who = Who::of(client);
        let max = usize::try_from(max_counts).unwrap_or(usize::MAX);
        // Held until it is taken: between a look and a count another could come.
        let mut counts = lock(&self.quotas.counts);
        held.close();
        let mut found = Vec::new();
        let (mut told, mut unpaid) = (None, None);
        for allowance in quotas {
            let spent = match counts.find(&allowance.place, &who, max, now) {
                None => Some(Spent::new("quota_state_full", SWEEP)),
                Some(count) => {
                    let spent = lock(&count).spent(&allowance.quota, is_new, now);
                    found.push(Counted::new(allowance, count));
                    spent
                }
            };
            match (spent, allowance.mode) {
                (None, _) => {}
                (Some(spent), EgressMode::Enforce) => longest(&mut unpaid, allowance, &spent),
                (Some(spent), _) => {
                    told.get_or_insert_with(|| refused(allowance, spent.reason));
                }
            }
        }
        if let Some(unpaid) = unpaid {
            return Err(unpaid);
        }
        for Counted { allowance, count } in &found {
            lock(count).open(&allowance.quota, is_new, now);
        }
        held.counts = found;
        // What was told once stays told.
        held.told = held.told.take().or(told);
        Ok(())
    }

    /// Why what is open must end, if it must.
    pub(in crate::egress) fn cut(&self, now: Instant) -> Option<&'static str> {
        let held = lock(&self.held);
        let is_over = held.is_cut || held.exceeded(now).next().is_some();
        is_over.then_some(BYTES_OUT)
    }

    /// Why it ended that neither side closed, if bytes of it were not sent: it may be over before
    /// anybody looks whether it must be cut.
    pub(in crate::egress) fn ended(&self) -> Option<&'static str> {
        lock(&self.held).is_cut.then_some(BYTES_OUT)
    }

    /// Counts bytes that are to be sent, and tells whether they may be.
    pub(in crate::egress) fn send(&self, bytes: u64, now: Instant) -> bool {
        let mut held = lock(&self.held);
        // What lacks bytes does not go on, whatever window has begun since.
        if held.is_cut {
            return false;
        }
        let (mut told, mut may) = (None, true);
        for Counted { allowance, count } in &held.counts {
            let fits = lock(count).send(&allowance.quota, bytes, now);
            match (fits, allowance.mode) {
                (true, _) => {}
                (false, EgressMode::Enforce) => may = false,
                (false, _) => {
                    told.get_or_insert_with(|| refused(allowance, BYTES_OUT));
                }
            }
        }
        held.told = held.told.take().or(told);
        held.is_cut |= !may;
        may
    }

    /// What would have been refused up to now where a policy that does not enforce did.
    pub(in crate::egress) fn told(&self) -> Option<Refused> {
        lock(&self.held).told.clone()
    }

    /// The refusal of what goes no further now, by the bytes of the quota to wait for longest.
    pub(in crate::egress) fn spent(&self, now: Instant) -> Option<Unpaid> {
        let held = lock(&self.held);
        let mut unpaid = None;
        for (allowance, spent) in held.exceeded(now) {
            longest(&mut unpaid, allowance, &spent);
        }
        unpaid
    }
}

impl Held {
    fn close(&mut self) {
        for Counted { count, .. } in self.counts.drain(..) {
            lock(&count).close();
        }
    }

    /// The quotas that more bytes were to be sent of than may be, of policies that enforce.
    fn exceeded(&self, now: Instant) -> impl Iterator<Item = (&Allowance, Spent)> {
        let enforced = self.counts.iter();
        let enforced = enforced.filter(|counted| counted.allowance.mode == EgressMode::Enforce);
        enforced.filter_map(move |Counted { allowance, count }| {
            let spent = lock(count).exceeded(&allowance.quota, now)?;
            Some((allowance, spent))
        })
    }
}

impl Counted {
    fn new(allowance: &Allowance, count: Arc<Mutex<Count>>) -> Self {
        Self {
            allowance: allowance.clone(),
            count,
        }
    }
}

impl Meter for Charge {
    fn may_send(&self, bytes: u64) -> bool {
        self.send(bytes, Instant::now())
    }

    fn is_limited(&self) -> bool {
        let held = lock(&self.held);
        held.is_cut || !held.counts.is_empty()
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        lock(&self.held).close();
    }
}

/// Keeps the one to wait for longest.
fn longest(unpaid: &mut Option<Unpaid>, allowance: &Allowance, spent: &Spent) {
    let known = unpaid.as_ref().map(|unpaid| unpaid.retry_after);
    if known.is_none_or(|known| known < spent.retry_after) {
        *unpaid = Some(Unpaid {
            refused: refused(allowance, spent.reason),
            retry_after: spent.retry_after,
        });
    }
}

fn refused(allowance: &Allowance, reason: &'static str) -> Refused {
    Refused {
        reason,
        policy: Some(Arc::clone(&allowance.place.policy)),
        rule: allowance.place.rule().cloned(),
        mode: allowance.mode,
        always: false,
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use portcullis_config::egress::{EgressQuota, QuotaPart, QuotaPlace};

    use super::*;

    fn allowance(policy: &str, mode: EgressMode, quota: (Option<u64>, Option<u32>)) -> Allowance {
        Allowance {
            place: QuotaPlace {
                policy: policy.into(),
                part: QuotaPart::Policy,
            },
            quota: EgressQuota {
                bytes_out: quota.0,
                window: EgressQuota::DEFAULT_WINDOW,
                connections: quota.1,
                rate: None,
            },
            mode,
        }
    }

    fn client(last: u8) -> Client<'static> {
        Client {
            address: IpAddr::from([10, 0, 0, last]),
            identity: None,
            labels: None,
            certificate: None,
        }
    }

    /// What is taken, or whose quota has nothing left and what of it.
    fn take(quotas: &Arc<Quotas>, of: &[Allowance], max: u32) -> Result<Charge, String> {
        let charge = Charge::new(Arc::clone(quotas));
        let taken = charge.take(client(1), of, true, max, Instant::now());
        taken.map_err(|Unpaid { refused, .. }| {
            format!("{} {}", refused.policy.expect("one"), refused.reason)
        })?;
        Ok(charge)
    }

    #[test]
    fn of_all_quotas_is_taken_or_of_none() {
        let quotas = Arc::default();
        let one = allowance("one", EgressMode::Enforce, (None, Some(1)));
        let two = allowance("two", EgressMode::Enforce, (None, Some(2)));
        let held = take(&quotas, std::slice::from_ref(&one), 9).expect("it is free");
        for _ in 0..3 {
            let both = [two.clone(), one.clone()];
            let refused = take(&quotas, &both, 9).expect_err("one has none left");
            assert_eq!(refused, "one quota_connections");
        }
        // What was refused has taken no place of the other.
        let two = std::slice::from_ref(&two);
        let _first = take(&quotas, two, 9).expect("the first of two");
        let _second = take(&quotas, two, 9).expect("the second of two");
        take(&quotas, two, 9).expect_err("a third of two");
        drop(held);
        take(&quotas, &[one], 9).expect("its place is given back");
    }

    #[test]
    fn no_namespace_takes_the_counts_of_others() {
        let quotas = Arc::default();
        let take = |policy: &str| {
            let of = [allowance(policy, EgressMode::Enforce, (None, Some(1)))];
            super::tests::take(&quotas, &of, 20)
        };
        let _first = take("greedy/one").expect("the first of two");
        let second = take("greedy/two").expect("the second of two");
        let refused = take("greedy/three").expect_err("two are a tenth");
        assert_eq!(refused, "greedy/three quota_state_full");
        let _held = [
            "ClusterEgressPolicy/one",
            "ClusterEgressPolicy/two",
            "ClusterEgressPolicy/three",
            "modest/one",
            "modest/two",
            "settings",
        ]
        .map(|policy| take(policy).expect("the others have theirs"));
        // What is over makes room.
        drop(second);
        lock(&quotas.counts).swept = None;
        take("greedy/three").expect("there is room again");
    }

    #[test]
    fn what_is_judged_again_does_not_stand_in_its_own_way() {
        let quotas = Arc::default();
        let (now, one) = (
            Instant::now(),
            [allowance("one", EgressMode::Enforce, (Some(10), Some(1)))],
        );
        let held = take(&quotas, &one, 9).expect("it is free");
        assert!(held.send(10, now), "to the last byte");
        let again = held.take(client(1), &one, false, 9, now);
        again.expect("it is the one that is open");
        assert_eq!(held.cut(now), None);
        take(&quotas, &one, 9).expect_err("another");
        assert!(!held.send(1, now));
        assert_eq!(held.cut(now), Some(BYTES_OUT));
        assert_eq!(held.ended(), Some(BYTES_OUT));
        // What lacks a piece does not go on, in the next window or without a quota.
        assert!(!held.send(1, now + Duration::from_secs(1 << 20)));
        held.take(client(1), &[], false, 9, now).expect("no quota");
        assert!(!held.send(1, now));
        let free = take(&quotas, &[], 9).expect("no quota");
        assert!(free.send(1 << 40, now));
    }

    #[test]
    fn a_policy_that_does_not_enforce_tells_and_keeps_nobody_from_anything() {
        let quotas = Arc::default();
        let quota = (Some(1), Some(1));
        let lenient = [EgressMode::Report, EgressMode::Open];
        let lenient = lenient.map(|mode| allowance("lenient", mode, quota));
        for of in lenient.chunks(1) {
            let now = Instant::now();
            let held = take(&quotas, of, 9).expect("it is free");
            let over = take(&quotas, of, 9).expect("it is told");
            assert_eq!(over.told().expect("told").reason, "quota_connections");
            assert!(held.send(1000, now) && held.cut(now).is_none());
            assert_eq!(held.told().expect("told").mode, of[0].mode);
            // Nor where there is no room to count it.
            let other = Charge::new(Arc::clone(&quotas));
            let taken = other.take(client(2), of, true, 1, now);
            taken.expect("it is told");
            assert_eq!(other.told().expect("told").reason, "quota_state_full");
            // The next one begins with nothing.
            drop((held, over));
            lock(&quotas.counts).by_key.clear();
        }
        let strict = [allowance("strict", EgressMode::Enforce, quota)];
        let _held = take(&quotas, &strict, 1).expect("there is room for one");
        let refused =
            Charge::new(Arc::clone(&quotas)).take(client(2), &strict, true, 1, Instant::now());
        assert_eq!(
            refused.expect_err("and no more").refused.reason,
            "quota_state_full"
        );
    }
}
