//! Kinds of packets, and what became of those of each kind.

use core::ops::Index;
use core::ops::IndexMut;

/// What a packet is to the accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(in crate::bench) enum What {
    /// From the client of an established connection.
    Request,
    /// From its real server.
    Reply,
    /// A packet of the flood, from anywhere: a SYN, mostly.
    Syn,
    /// The SYN of a client that means it.
    Newcomer,
    /// The same client's next packet.
    Ack,
}

impl What {
    pub(in crate::bench) const ALL: [Self; 5] =
        [Self::Request, Self::Reply, Self::Syn, Self::Newcomer, Self::Ack];

    /// The kind numbered `raw`.
    pub(in crate::bench) fn from_raw(raw: u8) -> Option<Self> {
        Self::ALL.get(usize::from(raw)).copied()
    }
}

/// Packets by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::bench) struct Counts([u64; What::ALL.len()]);

impl Counts {
    /// What was counted since `earlier`.
    pub(in crate::bench) fn since(&self, earlier: &Self) -> Self {
        let mut all = *self;
        all.0.iter_mut().zip(&earlier.0).for_each(|(now, then)| *now -= then);
        all
    }

    /// All kinds together.
    pub(in crate::bench) fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

impl Index<What> for Counts {
    type Output = u64;

    fn index(&self, what: What) -> &u64 {
        &self.0[what as usize]
    }
}

impl IndexMut<What> for Counts {
    fn index_mut(&mut self, what: What) -> &mut u64 {
        &mut self.0[what as usize]
    }
}

/// What became of packets. Of every kind, `offered` = `lost` + what waits in the queue + `taken`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::bench) struct Accounts {
    /// Arrived.
    pub(in crate::bench) offered: Counts,
    /// Found the queue full.
    pub(in crate::bench) lost: Counts,
    /// Given to the director.
    pub(in crate::bench) taken: Counts,
    /// Sent on by the director.
    pub(in crate::bench) sent: Counts,
}

impl Accounts {
    /// What was counted since `earlier`.
    pub(in crate::bench) fn since(&self, earlier: &Self) -> Self {
        Self {
            offered: self.offered.since(&earlier.offered),
            lost: self.lost.since(&earlier.lost),
            taken: self.taken.since(&earlier.taken),
            sent: self.sent.since(&earlier.sent),
        }
    }

    /// Packets of one kind that did not come out again: lost in the queue, or by the director.
    pub(in crate::bench) fn missing(&self, what: What) -> u64 {
        self.lost[what] + self.taken[what].saturating_sub(self.sent[what])
    }
}
