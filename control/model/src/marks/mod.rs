//! Mark rules: the chain `PREROUTING` of iptables' table `mangle`, as far as it makes firewall
//! marks.
//!
//! [`MarkTable`] belongs to the control loop, beside the [`Model`](super::Model): the one says
//! which packets bear which mark, the other which service a mark leads to; neither needs the other.

mod rule;
mod table;

pub use rule::{MarkRule, MarkTarget, Multiport, Net, Not, PortSide};
pub use table::{MarkBatchError, MarkChange, MarkError, MarkTable};
