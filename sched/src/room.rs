//! How big a plan a state can serve.

use crate::Kind;
use crate::Plan;

/// How big a plan a [`State`](crate::State) can serve. Control remembers it for states that it has
/// given to workers.
///
/// For a bigger plan the choices are still right, but slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    kind: Kind,
    dests: usize,
}

impl Room {
    pub(crate) const fn new(kind: Kind, dests: usize) -> Self {
        Self { kind, dests }
    }

    /// Whether `plan` fits.
    pub fn holds(&self, plan: &Plan) -> bool {
        plan.kind() == self.kind && plan.dests().len() <= self.dests
    }
}
