//! A destination as a cache remembers it.

use crate::Dest;
use crate::DestId;
use crate::Plan;
use crate::hash;

/// A destination as a cache remembers it. It outlives edits, and may outlive the destination.
///
/// While a cache still names a slot, the slot may get another destination. So a hash of the
/// server's address and port is remembered too. Linux holds a reference to the destination and asks
/// for `IP_VS_DEST_F_AVAILABLE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    id: DestId,
    print: u32,
}

impl Server {
    pub(crate) fn of(dest: &Dest) -> Self {
        let print = hash::fold(dest.addr).wrapping_mul(0x9E37_79B1).wrapping_add(u32::from(dest.port));
        Self { id: dest.id, print }
    }

    /// The destination, if the service still has it.
    pub(crate) fn find(self, plan: &Plan) -> Option<&Dest> {
        let dest = plan.dests().get(plan.position(self.id)?)?;
        (Self::of(dest) == self).then_some(dest)
    }
}
