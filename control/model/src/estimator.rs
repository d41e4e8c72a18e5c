//! Statistics as Linux shows them (`net/netfilter/ipvs/ip_vs_est.c`). Counters are those of the
//! last 2-second tick, minus the base that `-Z` keeps. Rates are smoothed from tick to tick.

use std::time::Duration;

use super::counters::{Counters, Rates};

/// How often [`Statistics::tick`] is called.
pub const TICK: Duration = Duration::from_secs(2);

/// The statistics of one service, one destination, or the whole director.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    last: Counters,
    base: Counters,
    averages: Averages,
}

impl Statistics {
    /// Statistics that begin now, with the raw counters at `raw`.
    pub fn begin(raw: Counters) -> Self {
        Self { last: raw, base: raw, averages: Averages::default() }
    }

    /// Reads the raw counters. Call it every [`TICK`]. The raw counters never shrink.
    pub fn tick(&mut self, raw: Counters) {
        let growth = raw.since(&self.last);
        self.last = raw;
        self.averages.fold(&growth);
    }

    /// `-Z`: the present counters become the base, and the rates become 0.
    pub fn zero(&mut self) {
        self.base = self.last;
        self.averages = Averages::default();
    }

    /// The counters to show.
    pub fn counters(&self) -> Counters {
        self.last.since(&self.base)
    }

    /// The rates to show.
    pub fn rates(&self) -> Rates {
        let Averages { cps, inpps, outpps, inbps, outbps } = self.averages;
        Rates {
            cps: read(cps, PACKET_BITS),
            inpps: read(inpps, PACKET_BITS),
            outpps: read(outpps, PACKET_BITS),
            inbps: read(inbps, BYTE_BITS),
            outbps: read(outbps, BYTE_BITS),
        }
    }
}

/// Averages in fixed point, with [`PACKET_BITS`] or [`BYTE_BITS`] binary places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Averages {
    cps: u64,
    inpps: u64,
    outpps: u64,
    inbps: u64,
    outbps: u64,
}

impl Averages {
    fn fold(&mut self, growth: &Counters) {
        fold(&mut self.cps, growth.conns, PACKET_BITS);
        fold(&mut self.inpps, growth.inpkts, PACKET_BITS);
        fold(&mut self.outpps, growth.outpkts, PACKET_BITS);
        fold(&mut self.inbps, growth.inbytes, BYTE_BITS);
        fold(&mut self.outbps, growth.outbytes, BYTE_BITS);
    }
}

/// Moves the average a quarter of the way to the rate of this tick. The rate is half the growth,
/// because a tick is 2 s.
fn fold(average: &mut u64, growth: u64, bits: u32) {
    let rate = growth << (bits - 1);
    let step = (rate as i64).wrapping_sub(*average as i64) >> 2;
    *average = average.wrapping_add_signed(step);
}

fn read(average: u64, bits: u32) -> u64 {
    average.wrapping_add((1 << (bits - 1)) - 1) >> bits
}

const PACKET_BITS: u32 = 10;
const BYTE_BITS: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(packets: u64, size: u64) -> Counters {
        Counters { conns: packets / 10, inpkts: packets, inbytes: packets * size, ..Counters::default() }
    }

    #[test]
    fn a_burst_decays_as_in_linux() {
        let mut stats = Statistics::default();
        let shown: Vec<_> = (0..4)
            .map(|_| {
                stats.tick(counted(1000, 100));
                (stats.rates().inpps, stats.rates().inbps)
            })
            .collect();
        assert_eq!(shown, [(125, 12500), (94, 9375), (70, 7031), (53, 5273)]);
        assert_eq!(stats.counters(), counted(1000, 100));
    }

    #[test]
    fn a_steady_rate_is_reached_and_falls_to_zero() {
        let mut stats = Statistics::default();
        for tick in 1..100 {
            stats.tick(counted(2000 * tick, 64));
        }
        assert_eq!(stats.rates().inpps, 1000);
        assert_eq!(stats.rates().inbps, 64_000);
        assert_eq!(stats.rates().cps, 100);
        for _ in 0..100 {
            stats.tick(counted(2000 * 99, 64));
        }
        assert_eq!(stats.rates(), Rates::default());
    }

    #[test]
    fn zero_keeps_a_base_and_forgets_the_rates() {
        let mut stats = Statistics::begin(counted(7, 10));
        assert_eq!(stats.counters(), Counters::default());
        stats.tick(counted(107, 10));
        assert_eq!(stats.counters().inpkts, 100);
        stats.zero();
        assert_eq!((stats.counters(), stats.rates()), (Counters::default(), Rates::default()));
        stats.tick(counted(110, 10));
        assert_eq!(stats.counters().inpkts, 3);
    }

    #[test]
    fn shown_counters_are_those_of_the_last_tick() {
        let mut stats = Statistics::default();
        stats.tick(counted(10, 1));
        assert_eq!(stats.counters().inpkts, 10);
    }
}
