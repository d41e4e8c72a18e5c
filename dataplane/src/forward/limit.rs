//! A limit for the ICMP errors that the director sends to one address.
//!
//! Linux limits destination-unreachable, source-quench and time-exceeded to one a second for each
//! peer, after a burst of six (`net/ipv4/route.c: inet_peer_xrlim_allow`, `icmp_ratelimit`).
//! Frag-needed is not limited. Here peers share a fixed number of buckets. Peers that share a
//! bucket only have a tighter limit.

use core::net::Ipv4Addr;
use std::boxed::Box;

use crate::time::Ticks;
use crate::wire::icmp::IcmpError;

const BUCKETS: usize = 1024;
const BURST: u32 = 6;
/// How many tokens one error costs. A bucket gets one token each tick.
const COST: u32 = Ticks::PER_SECOND;

#[derive(Clone, Copy, Debug)]
struct Bucket {
    peer: Ipv4Addr,
    tokens: u32,
    last: Ticks,
}

/// Token buckets of peers.
#[derive(Debug)]
pub struct IcmpLimiter {
    buckets: Box<[Bucket; BUCKETS]>,
}

impl Default for IcmpLimiter {
    fn default() -> Self {
        let full = Bucket { peer: Ipv4Addr::UNSPECIFIED, tokens: BURST * COST, last: Ticks::new(0) };
        Self { buckets: Box::new([full; BUCKETS]) }
    }
}

impl IcmpLimiter {
    /// Whether `error` may be sent to `peer` now. If so, counts it.
    pub fn allow(&mut self, peer: Ipv4Addr, error: IcmpError, now: Ticks) -> bool {
        if matches!(error, IcmpError::FragNeeded { .. }) {
            return true;
        }
        let at = (peer.to_bits().wrapping_mul(0x9e37_79b1) >> 22) as usize % BUCKETS;
        let bucket = &mut self.buckets[at];
        if bucket.peer == Ipv4Addr::UNSPECIFIED {
            bucket.last = now;
        }
        bucket.peer = peer;
        let earned = now.since(bucket.last).max(0).cast_unsigned();
        bucket.tokens = bucket.tokens.saturating_add(earned).min(BURST * COST);
        bucket.last = now;
        let enough = bucket.tokens >= COST;
        if enough {
            bucket.tokens -= COST;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_errors_at_once_then_one_a_second_but_frag_needed_always() {
        let mut limiter = IcmpLimiter::default();
        let peer = Ipv4Addr::new(10, 0, 0, 2);
        let now = Ticks::from_secs(50);
        let at_once = (0..10).filter(|_| limiter.allow(peer, IcmpError::PortUnreachable, now)).count();
        assert_eq!(at_once, 6);
        assert!(limiter.allow(peer, IcmpError::FragNeeded { mtu: 1480 }, now));
        assert!(!limiter.allow(peer, IcmpError::PortUnreachable, now.plus(99)));
        assert!(limiter.allow(peer, IcmpError::TimeExceeded, now.plus(100)));
        assert!(!limiter.allow(peer, IcmpError::TimeExceeded, now.plus(101)));
    }
}
