//! The rules as control holds them, and their way to the workers.
//!
//! Control changes the [`Master`] and publishes it. A worker takes the newest snapshot at its next
//! poll. All of this belongs to one control thread.

use std::vec::Vec;

use crate::epoch::Publisher;
use crate::epoch::Reader;
use crate::epoch::WorkerToken;
use crate::snapshot::Snapshot;
use crate::snapshot::master::Master;

/// The master, and the publisher of its snapshots.
#[derive(Debug)]
pub struct Rules {
    /// The rules with all changes, also those that are not published yet.
    pub master: Master,
    publisher: Publisher<Snapshot>,
}

/// The things that a worker needs to follow the rules.
#[derive(Debug)]
pub struct WorkerEnd {
    /// It reads the rules here.
    pub rules: Reader<Snapshot>,
    /// The key to its own cells in the rules.
    pub token: WorkerToken,
}

impl Rules {
    /// Publishes `master` for the workers for which it was made. `tokens` are the tokens of these
    /// workers.
    pub fn new(mut master: Master, tokens: Vec<WorkerToken>) -> (Self, Vec<WorkerEnd>) {
        let (publisher, readers) = Publisher::new(master.release(0), tokens.len());
        let ends = readers.into_iter().zip(tokens).map(|(rules, token)| WorkerEnd { rules, token });
        (Self { master, publisher }, ends.collect())
    }

    /// Publishes the master as it is, and frees snapshots that no worker can look at any more.
    pub fn publish(&mut self) {
        // The master keeps all edits until every worker has seen the snapshot before this one.
        let seen = if self.settled() { self.master.snapshot().epoch } else { 0 };
        let snapshot = self.master.release(seen);
        self.publisher.publish(snapshot);
        self.reclaim();
    }

    /// Frees snapshots that no worker can look at any more. Returns how many were freed.
    pub fn reclaim(&mut self) -> usize {
        self.publisher.reclaim()
    }

    /// How many snapshots are replaced and not freed yet.
    pub fn retired(&self) -> usize {
        self.publisher.retired()
    }

    /// The epoch of the newest rules.
    pub fn epoch(&self) -> u64 {
        self.publisher.epoch()
    }

    /// Whether every worker has seen the newest rules.
    pub fn settled(&self) -> bool {
        self.waits_for().is_none()
    }

    /// The number of the first worker that has not seen the newest rules.
    pub fn waits_for(&self) -> Option<usize> {
        self.publisher.waits_for(self.epoch())
    }
}
