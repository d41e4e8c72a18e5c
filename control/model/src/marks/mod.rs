//! Mark rules: the part of the chain `PREROUTING` of iptables' table `mangle` that sets firewall
//! marks.
//!
//! [`MarkTable`] belongs to the control loop, like the [`Model`](super::Model). The table gives
//! marks to packets; the model gives services to marks. Neither needs the other.

mod rule;
mod table;

pub use rule::{MarkRule, MarkTarget, Multiport, Net, Not, PortSide};
pub use table::{MarkBatchError, MarkChange, MarkError, MarkTable};
