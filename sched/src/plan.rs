//! The half of a scheduler that all workers share.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::Dest;
use crate::DestId;
use crate::Flags;
use crate::Key;
use crate::Kind;
use crate::Loads;
use crate::MhSize;
use crate::dh;
use crate::mh;
use crate::peaks::Peaks;
use crate::positions::Positions;
use crate::sh;

/// The half of a scheduler that all workers share: the destinations in Linux's order, and a table.
///
/// Control builds and drops it; workers read it; nobody changes it.
#[derive(Debug)]
pub struct Plan {
    kind: Kind,
    flags: Flags,
    dests: Box<[Dest]>,
    positions: Positions,
    table: Table,
}

/// The lookup table, if the scheduler has one. Those of `sh` and `mh` hold list positions, so that
/// services with the same servers can share a table.
#[derive(Debug)]
enum Table {
    Nothing,
    Wrr(Peaks),
    Sh(Arc<sh::Ring>),
    Mh(Arc<mh::Ring>),
}

/// Further options of a plan.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// How big a table `mh` gets.
    pub mh_size: MhSize,
    /// A plan whose table the new plan shares, if its own table would be the same. That is the plan
    /// it replaces, or the plan of another service with the same servers.
    pub like: Option<&'a Plan>,
}

impl Plan {
    /// The plan of a service with `dests` in list order, the most recently added first.
    pub fn build(kind: Kind, flags: Flags, dests: Vec<Dest>) -> Result<Self, PlanError> {
        Self::build_with(kind, flags, dests, Options::default())
    }

    /// The same, with options.
    pub fn build_with(
        kind: Kind,
        flags: Flags,
        dests: Vec<Dest>,
        options: Options<'_>,
    ) -> Result<Self, PlanError> {
        if let Some(dest) = dests.iter().find(|d| d.weight < 0 || d.last_weight < 0) {
            return Err(PlanError::NegativeWeight(dest.id));
        }
        let positions = Positions::of(&dests).map_err(PlanError::Duplicate)?;
        let table = match kind {
            Kind::Wrr => Table::Wrr(Peaks::of(&dests)),
            Kind::Sh => Table::sh(&dests, options),
            Kind::Mh => Table::mh(&dests, options)?,
            _ => Table::Nothing,
        };
        Ok(Self { kind, flags, dests: dests.into_boxed_slice(), positions, table })
    }

    /// The scheduler.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The service's scheduler flags.
    pub const fn flags(&self) -> Flags {
        self.flags
    }

    /// The destinations in list order.
    pub const fn dests(&self) -> &[Dest] {
        &self.dests
    }

    /// Whether both plans share one lookup table in memory.
    pub fn shares_table(&self, other: &Self) -> bool {
        match (&self.table, &other.table) {
            (Table::Sh(mine), Table::Sh(theirs)) => Arc::ptr_eq(mine, theirs),
            (Table::Mh(mine), Table::Mh(theirs)) => Arc::ptr_eq(mine, theirs),
            _ => false,
        }
    }

    /// The position of `dest` in the list.
    pub fn position(&self, dest: DestId) -> Option<usize> {
        self.positions.find(&self.dests, dest)
    }

    /// The first destination, not before position `from`, whose weight is at least `weight`; for
    /// `wrr`.
    pub(crate) fn next_as_heavy(&self, from: usize, weight: u32) -> Option<(usize, &Dest)> {
        let at = match &self.table {
            Table::Wrr(peaks) => peaks.next(from, weight)?,
            _ => return None,
        };
        Some((at, self.dests.get(at)?))
    }

    /// Chooses for the schedulers that have no state.
    pub(crate) fn look_up(&self, loads: &impl Loads, key: &Key) -> Option<DestId> {
        match (&self.table, self.kind) {
            (Table::Sh(ring), _) => ring.pick(self, loads, key),
            (Table::Mh(ring), _) => ring.pick(self, loads, key),
            (Table::Nothing, Kind::Dh) => dh::pick(self, loads, key),
            (Table::Nothing | Table::Wrr(_), _) => None,
        }
    }
}

impl Table {
    fn sh(dests: &[Dest], options: Options<'_>) -> Self {
        match options.like {
            Some(Plan { table: Self::Sh(ring), dests: old, .. }) if sh::Ring::same(old, dests) => {
                Self::Sh(Arc::clone(ring))
            }
            _ => Self::Sh(Arc::new(sh::Ring::of(dests))),
        }
    }

    fn mh(dests: &[Dest], options: Options<'_>) -> Result<Self, PlanError> {
        Ok(match options.like {
            Some(Plan { table: Self::Mh(ring), dests: old, .. })
                if ring.serves(old, dests, options.mh_size) =>
            {
                Self::Mh(Arc::clone(ring))
            }
            _ => Self::Mh(Arc::new(mh::Ring::of(dests, options.mh_size)?)),
        })
    }
}

/// Why a plan cannot be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlanError {
    /// A destination occurs twice.
    Duplicate(DestId),
    /// A weight is below 0.
    NegativeWeight(DestId),
    /// The lookup table has fewer slots than there are destinations (Linux: `EINVAL` of `mh`).
    TooMany {
        /// The most destinations there may be.
        limit: usize,
    },
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duplicate(dest) => write!(f, "Destination {} occurs twice", dest.as_u32()),
            Self::NegativeWeight(dest) => write!(f, "Destination {} has a negative weight", dest.as_u32()),
            Self::TooMany { limit } => write!(f, "The scheduler holds at most {limit} destinations"),
        }
    }
}

impl core::error::Error for PlanError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn dests() -> Vec<Dest> {
        (0..3).map(|id| testing::dest(id, 1)).collect()
    }

    #[test]
    fn duplicates_and_negative_weights_are_refused() {
        let mut twice = dests();
        twice.push(twice[1]);
        let error = Plan::build(Kind::Rr, Flags::NONE, twice).unwrap_err();
        assert_eq!(error, PlanError::Duplicate(DestId::new(1)));
        assert_eq!(error.to_string(), "Destination 1 occurs twice");
        let mut negative = dests();
        negative[2].weight = -1;
        let error = Plan::build(Kind::Rr, Flags::NONE, negative).unwrap_err();
        assert_eq!(error, PlanError::NegativeWeight(DestId::new(2)));
    }

    #[test]
    fn tables_are_shared_if_and_only_if_they_are_the_same() {
        let shared = |kind, change: fn(&mut Dest)| {
            let old = Plan::build(kind, Flags::NONE, dests()).unwrap();
            let mut list = dests();
            list.iter_mut().for_each(|dest| dest.id = DestId::new(dest.id.as_u32() + 100));
            change(&mut list[1]);
            let options = Options { like: Some(&old), ..Options::default() };
            let new = Plan::build_with(kind, Flags::FALLBACK, list, options).unwrap();
            new.shares_table(&old)
        };
        assert!(shared(Kind::Sh, |_| {}));
        assert!(shared(Kind::Sh, |dest| dest.port = 7));
        assert!(!shared(Kind::Sh, |dest| dest.weight = 7));
        assert!(shared(Kind::Mh, |_| {}));
        assert!(shared(Kind::Mh, |dest| dest.weight = 0));
        assert!(!shared(Kind::Mh, |dest| dest.last_weight = 7));
        assert!(!shared(Kind::Mh, |dest| dest.port = 7));
    }
}
