//! What a flood did, and whether that is what is aimed at.

use core::fmt;

use serde::Serialize;
use serde::Serializer;

use crate::bench::args::FloodKind;
use crate::bench::flood::accounts::Accounts;
use crate::bench::flood::accounts::What;

/// Part of the established connections' packets that should survive.
const KEPT: f64 = 0.99;
/// Seconds after which all should be well again.
const RECOVERED: f64 = 1.0;
/// Kilobytes that the process may grow by: some pages of its stack and of the C library.
const GROWN_KB: i64 = 1024;

/// What became of packets of one kind while the flood lasted. The rest of `offered` waited in the
/// queue at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Fates {
    /// Arrived.
    pub offered: u64,
    /// Found the receive queue full.
    pub lost_in_queue: u64,
    /// Taken by the director, and not sent on.
    pub lost_in_director: u64,
    /// Sent on.
    pub sent: u64,
}

impl Fates {
    pub(super) fn of(accounts: &Accounts, what: What) -> Self {
        Self {
            offered: accounts.offered[what],
            lost_in_queue: accounts.lost[what],
            lost_in_director: accounts.missing(what) - accounts.lost[what],
            sent: accounts.sent[what],
        }
    }

    /// The part that was not lost.
    pub fn kept(&self) -> f64 {
        let lost = self.lost_in_queue + self.lost_in_director;
        if self.offered == 0 { 1.0 } else { 1.0 - lost as f64 / self.offered as f64 }
    }
}

/// The figures of a flood.
#[derive(Clone, Debug, Serialize)]
pub struct FloodReport {
    /// What it is made of; what is said of SYNs below is said of its packets.
    pub kind: FloodKind,
    /// Slots of the connection table.
    pub capacity: u32,
    /// Established packets that the worker can carry in a second.
    pub established_rate: f64,
    /// SYNs that it can take in a second while there is room for them.
    pub syn_rate_with_room: f64,
    /// SYNs that it can make connections of in a second, and end those again.
    pub syn_rate_sustained: f64,
    /// SYNs that it can refuse in a second, or nearly: with the table full. `None`: it never was
    /// for long enough.
    pub syn_rate_when_full: Option<f64>,
    /// Established packets offered in a second.
    pub offered_established: f64,
    /// SYNs offered in a second.
    pub offered_syns: f64,
    /// Packets of established connections' clients.
    pub requests: Fates,
    /// Packets of their real servers.
    pub replies: Fates,
    /// SYNs of the flood.
    pub syns: Fates,
    /// SYNs of clients that mean it.
    pub newcomers: Fates,
    /// Such clients whose next packet came through as well.
    pub opened: u64,
    /// When the table was full first.
    pub filled_seconds: Option<f64>,
    /// Packets dropped, by reason.
    #[serde(serialize_with = "by_reason")]
    pub drops: Vec<(&'static str, u64)>,
    /// Connections in the table at the end.
    pub connections: u32,
    /// Memory of table and timers before.
    pub memory_bytes_before: usize,
    /// The same afterwards.
    pub memory_bytes_after: usize,
    /// What the process's memory in use grew by meanwhile.
    pub resident_grown_kb: i64,
    /// From the flood's end until no packet of an established connection was lost any more; `None`:
    /// never.
    pub lossless_after_seconds: Option<f64>,
    /// From the flood's end until new connections were taken again; `None`: never.
    pub admitting_after_seconds: Option<f64>,
    /// Time that the machine gave to others during flood and recovery, which is not counted.
    pub stolen_seconds: f64,
}

impl FloodReport {
    /// Whether established connections kept enough of their packets, in both directions.
    pub fn kept_is_met(&self) -> bool {
        self.requests.kept() >= KEPT && self.replies.kept() >= KEPT
    }

    /// Whether memory stayed as it was.
    pub fn memory_is_met(&self) -> bool {
        self.memory_bytes_before == self.memory_bytes_after && self.resident_grown_kb <= GROWN_KB
    }

    /// Whether all was well again soon enough.
    pub fn recovery_is_met(&self) -> bool {
        let soon = |after: Option<f64>| after.is_some_and(|after| after <= RECOVERED);
        soon(self.lossless_after_seconds) && soon(self.admitting_after_seconds)
    }
}

fn by_reason<S: Serializer>(drops: &[(&'static str, u64)], to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(drops.iter().copied())
}

impl fmt::Display for FloodReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millions = |rate: f64| format!("{:.2} M", rate / 1e6);
        let packets = match self.kind {
            FloodKind::Syn => "SYNs",
            FloodKind::Udp => "datagrams",
            FloodKind::SynAck => "packets of forged handshakes",
            FloodKind::SynAckSticky => "packets of forged handshakes with a persistent service",
        };
        writeln!(
            f,
            "  the worker can take {} established packets a second, or {} {packets} while the table has room ({} if their connections' ends are counted in){}",
            millions(self.established_rate),
            millions(self.syn_rate_with_room),
            millions(self.syn_rate_sustained),
            self.syn_rate_when_full
                .map_or(String::new(), |rate| format!(", {} when it is full", millions(rate)))
        )?;
        writeln!(
            f,
            "  offered: {} established packets and {} {packets} a second; the table has {} slots and was full {}",
            millions(self.offered_established),
            millions(self.offered_syns),
            self.capacity,
            self.filled_seconds.map_or("never".into(), |after| format!("after {after:.2} s"))
        )?;
        for (what, fates) in
            [("clients", &self.requests), ("real servers", &self.replies), ("flood", &self.syns)]
        {
            let Fates { offered, lost_in_queue, lost_in_director, .. } = fates;
            if *offered != 0 {
                writeln!(
                    f,
                    "  {what}: {offered} packets, {:.2} % kept; lost in the queue {lost_in_queue}, in the director {lost_in_director}",
                    fates.kept() * 100.0
                )?;
            }
        }
        writeln!(
            f,
            "  new clients: {} of {} let in, {} of these heard a second time",
            self.newcomers.sent, self.newcomers.offered, self.opened
        )?;
        let drops: Vec<_> = self.drops.iter().map(|(word, count)| format!("{word} {count}")).collect();
        writeln!(f, "  dropped: {}", if drops.is_empty() { "nothing".into() } else { drops.join(", ") })?;
        let met = |met| if met { "met" } else { "not met" };
        writeln!(f, "  {:.0} % of established packets kept: {}", KEPT * 100.0, met(self.kept_is_met()))?;
        writeln!(
            f,
            "  memory at its limit: {}: {} connections, {} bytes before, {} after, process grown by {} kB",
            met(self.memory_is_met()),
            self.connections,
            self.memory_bytes_before,
            self.memory_bytes_after,
            self.resident_grown_kb
        )?;
        let after = |after: Option<f64>| after.map_or("never".into(), |after| format!("after {after:.2} s"));
        write!(
            f,
            "  recovered within {RECOVERED:.0} s: {}: nothing lost {}, new connections taken {}; {:.2} s were others' and do not count",
            met(self.recovery_is_met()),
            after(self.lossless_after_seconds),
            after(self.admitting_after_seconds),
            self.stolen_seconds
        )
    }
}
