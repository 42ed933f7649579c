//! Limits the waiting mails per sender, and decides which mail is sent next.
//!
//! 1. Notices have a lane of their own, with slots that sign-in mails cannot take.
//! 2. Mails for browsers known to the account precede those for strangers. Of eight turns, one is
//!    for notices and one for strangers, so that no lane starves.
//! 3. Within a lane, networks take turns: a network with many mails delays only its own. Between
//!    networks with equal turns, the recipient domain with fewer mails goes first.
//! 4. A network and a recipient domain can each have only a share of the slots. Some slots are
//!    not available to strangers.
//!
//! The order is start-time fair queueing: each network's mails get consecutive numbers, starting at
//! the number being served.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

/// The kind of mail and its requester.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Lane {
    /// A security notice to an account's owner.
    Notice,
    /// Requested by a browser that has signed in to the account before, or is signed in.
    Known,
    /// Requested by any other browser.
    Stranger,
}

/// The requester and the recipient of a mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sender {
    pub(super) lane: Lane,
    /// The requester's network.
    pub(super) network: String,
    /// The domain of the recipient.
    domain: String,
}

impl Sender {
    pub(super) fn new(lane: Lane, network: impl Into<String>, domain: &str) -> Self {
        Self { lane, network: network.into(), domain: domain.to_owned() }
    }
}

/// Limits on the number of waiting mails.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    /// All mails except notices.
    pub(super) sign_ins: usize,
    /// Mails requested by strangers.
    pub(super) strangers: usize,
    /// Mails requested from one network.
    pub(super) network: usize,
    /// Mails to one domain.
    pub(super) domain: usize,
    /// Notices.
    pub(super) notices: usize,
}

/// The waiting mails of one network, or to one domain.
#[derive(Default)]
struct Flow {
    places: usize,
    next: u64,
}

/// The position of a mail within its lane.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    network: u64,
    domain: u64,
    arrival: u64,
}

/// The mails waiting for an attempt. A mail keeps its slot during an attempt and between attempts.
pub(super) struct FairQueue<T> {
    places: Places,
    taken: [usize; 3],
    networks: HashMap<String, Flow>,
    domains: HashMap<String, Flow>,
    waiting: [BTreeMap<Turn, T>; 3],
    /// The highest turn served so far.
    served: Turn,
    arrivals: u64,
    turns: u64,
}

impl<T> FairQueue<T> {
    pub(super) fn new(places: Places) -> Self {
        Self {
            places,
            taken: [0; 3],
            networks: HashMap::new(),
            domains: HashMap::new(),
            waiting: [const { BTreeMap::new() }; 3],
            served: Turn { network: 0, domain: 0, arrival: 0 },
            arrivals: 0,
            turns: 0,
        }
    }

    /// Takes a slot; `false` if none is available for this sender.
    pub(super) fn take_place(&mut self, sender: &Sender) -> bool {
        let [notices, known, strangers] = self.taken;
        let of = |flows: &HashMap<String, Flow>, name| {
            flows.get(name).map_or(0, |flow: &Flow| flow.places)
        };
        let has_room = match sender.lane {
            Lane::Notice => notices < self.places.notices,
            lane => {
                known + strangers < self.places.sign_ins
                    && (lane == Lane::Known || strangers < self.places.strangers)
                    && of(&self.networks, &sender.network) < self.places.network
                    && of(&self.domains, &sender.domain) < self.places.domain
            }
        };
        if has_room {
            self.add_place(sender);
        }
        has_room
    }

    /// Takes a slot above all limits, for a mail that was already accepted.
    pub(super) fn add_place(&mut self, sender: &Sender) {
        self.taken[sender.lane as usize] += 1;
        if sender.lane != Lane::Notice {
            self.networks.entry(sender.network.clone()).or_default().places += 1;
            self.domains.entry(sender.domain.clone()).or_default().places += 1;
        }
    }

    /// Releases a slot.
    pub(super) fn give_back(&mut self, sender: &Sender) {
        self.taken[sender.lane as usize] -= 1;
        if sender.lane == Lane::Notice {
            return;
        }
        for (flows, name) in
            [(&mut self.networks, &sender.network), (&mut self.domains, &sender.domain)]
        {
            if let Some(flow) = flows.get_mut(name) {
                flow.places -= 1;
                if flow.places == 0 {
                    flows.remove(name);
                }
            }
        }
    }

    /// The number of slots taken.
    pub(super) fn taken(&self) -> usize {
        self.taken.iter().sum()
    }

    /// Adds a mail that has a slot.
    pub(super) fn push(&mut self, sender: &Sender, mail: T) {
        let turn_of = |flows: &mut HashMap<String, Flow>, name, served: u64| {
            let Some(flow) = flows.get_mut(name) else { return served };
            let turn = flow.next.max(served);
            flow.next = turn + 1;
            turn
        };
        self.arrivals += 1;
        let turn = Turn {
            network: turn_of(&mut self.networks, &sender.network, self.served.network),
            domain: turn_of(&mut self.domains, &sender.domain, self.served.domain),
            arrival: self.arrivals,
        };
        self.waiting[sender.lane as usize].insert(turn, mail);
    }

    /// Removes and returns the next mail.
    pub(super) fn pop(&mut self) -> Option<T> {
        use Lane::{Known, Notice, Stranger};
        let order = match self.turns % 8 {
            3 => [Notice, Known, Stranger],
            7 => [Stranger, Known, Notice],
            _ => [Known, Stranger, Notice],
        };
        let lane = order.into_iter().find(|lane| !self.waiting[*lane as usize].is_empty())?;
        let (turn, mail) = self.waiting[lane as usize].pop_first()?;
        self.turns += 1;
        if lane != Notice {
            self.served.network = self.served.network.max(turn.network);
            self.served.domain = self.served.domain.max(turn.domain);
        }
        Some(mail)
    }

    /// Removes and returns all waiting mails, in no particular order.
    pub(super) fn drain(&mut self) -> Vec<T> {
        self.waiting.iter_mut().flat_map(|lane| std::mem::take(lane).into_values()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACES: Places =
        Places { sign_ins: 1_000, strangers: 750, network: 60, domain: 500, notices: 100 };

    fn enter(queue: &mut FairQueue<String>, sender: &Sender) -> bool {
        let has_place = queue.take_place(sender);
        if has_place {
            queue.push(sender, format!("{} {}", sender.network, sender.domain));
        }
        has_place
    }

    fn stranger(network: &str, domain: &str) -> Sender {
        Sender::new(Lane::Stranger, network, domain)
    }

    /// The number of mails before that one.
    fn before(queue: &mut FairQueue<String>, mail: &str) -> usize {
        std::iter::from_fn(|| queue.pop()).position(|next| next == mail).unwrap()
    }

    #[test]
    fn a_flood_from_a_few_networks_delays_others_by_a_mail_of_each() {
        let mut queue = FairQueue::new(PLACES);
        for _ in 0..20 {
            for network in 0..13 {
                assert!(enter(&mut queue, &stranger(&format!("n{network}"), "example.com")));
            }
        }
        queue.pop();
        assert!(enter(&mut queue, &stranger("own", "example.com")));
        assert!(before(&mut queue, "own example.com") <= 13, "four at a time are sent within 4 s");
    }

    #[test]
    fn a_flood_from_many_networks_to_one_domain_does_not_delay_another_domain() {
        let mut queue = FairQueue::new(PLACES);
        for network in 0..500 {
            enter(&mut queue, &stranger(&format!("n{network}"), "flooded.example"));
        }
        assert!(!enter(&mut queue, &stranger("more", "flooded.example")));
        assert!(enter(&mut queue, &stranger("own", "example.com")));
        assert!(before(&mut queue, "own example.com") <= 1);
    }

    #[test]
    fn a_network_and_strangers_have_a_share_of_the_places() {
        let mut queue = FairQueue::new(PLACES);
        let taken = |queue: &mut FairQueue<String>, network: &str| {
            (0..100).filter(|n| enter(queue, &stranger(network, &format!("{n}.example")))).count()
        };
        assert_eq!(taken(&mut queue, "one"), 60);
        for network in 0..40 {
            taken(&mut queue, &format!("n{network}"));
        }
        assert_eq!(queue.taken(), 750);
        assert!(enter(&mut queue, &Sender::new(Lane::Known, "own", "example.com")));
        assert!(enter(&mut queue, &Sender::new(Lane::Notice, "", "example.com")));
    }

    #[test]
    fn known_browsers_go_first_and_no_lane_waits_for_ever() {
        let mut queue = FairQueue::new(PLACES);
        for n in 0..50 {
            for (lane, network) in [(Lane::Stranger, "s"), (Lane::Notice, "n"), (Lane::Known, "k")]
            {
                assert!(enter(&mut queue, &Sender::new(lane, network, &format!("{n}.example"))));
            }
        }
        let first: Vec<_> = (0..16).map(|_| queue.pop().unwrap()).collect();
        let of = |network: &str| first.iter().filter(|mail| mail.starts_with(network)).count();
        assert_eq!((of("k "), of("s "), of("n ")), (12, 2, 2));
    }

    #[test]
    fn a_place_that_is_given_back_leaves_nothing_behind() {
        let mut queue = FairQueue::<String>::new(PLACES);
        let senders = [stranger("a", "b"), Sender::new(Lane::Notice, "a", "b")];
        for sender in &senders {
            assert!(queue.take_place(sender));
        }
        for sender in &senders {
            queue.give_back(sender);
        }
        assert!(queue.networks.is_empty() && queue.domains.is_empty() && queue.taken() == 0);
    }
}
