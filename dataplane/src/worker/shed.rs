//! A short way to drop packets of a flood: only the connection table is looked at.
//!
//! A flood's packets to services belong to no connection. Most of them are dropped: datagrams that
//! are held back, and TCP packets that may be strays ([`super::stranger`]). Without the short way
//! each would take every step, and the search for its service would be the most costly one. So the
//! services that a flood asks for are remembered. A packet to one of them is marked when it is
//! parsed, and is dropped if it is not in the table.

use std::boxed::Box;

use crate::conn::key::FlowKey;
use crate::meta::Class;
use crate::meta::PacketMeta;
use crate::snapshot::Snapshot;
use crate::snapshot::service::Selector;
use crate::snapshot::service::Services;
use crate::verdict::DropReason;
use crate::wire::l4::Transport;
use crate::wire::l4::flag;
use crate::worker::flows::Flows;
use crate::worker::source;
use crate::worker::stranger;

/// How many services are remembered; a power of two.
const ASKED: usize = 4096;
const NOBODY: u64 = u64::MAX;

/// Services that a flood asked for. A newer one takes the place of an older one.
#[derive(Debug)]
pub(super) struct Asked {
    /// The [`Services::version`] for which they are valid.
    version: u64,
    words: Box<[u64; ASKED]>,
}

impl Default for Asked {
    fn default() -> Self {
        Self { version: 0, words: Box::new([NOBODY; ASKED]) }
    }
}

impl Asked {
    /// Whether packets with `key` have a service with their own address and port. Returns false if
    /// there are mark rules, and for other kinds of services. Such packets take every step.
    #[inline]
    pub(super) fn has_service(&mut self, snapshot: &Snapshot, key: FlowKey) -> bool {
        let wanted = Selector::Address { protocol: key.protocol(), addr: key.dst(), port: key.dport() };
        let word = wanted.word();
        let slot = (word.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as usize % ASKED;
        if !snapshot.marks.is_empty() {
            return false;
        }
        if self.words[slot] == word && self.version == snapshot.services.version() {
            return true;
        }
        self.look(&snapshot.services, key, wanted, slot)
    }

    #[inline(never)]
    fn look(&mut self, services: &Services, key: FlowKey, wanted: Selector, slot: usize) -> bool {
        if self.version != services.version() {
            self.version = services.version();
            self.words.fill(NOBODY);
        }
        let own = services.find(0, key).is_some_and(|service| service.key == wanted);
        if own {
            self.words[slot] = wanted.word();
        }
        own
    }
}

impl Flows {
    /// Whether a parsed packet of a flood is dropped if it belongs to no connection.
    #[inline]
    pub(super) fn is_unwanted(&mut self, snapshot: &Snapshot, meta: &PacketMeta) -> bool {
        let key = meta.key;
        let resets = meta.tcp_flags & flag::RST != 0;
        let opens = meta.tcp_flags & flag::SYN != 0 || snapshot.tunables.sloppy_tcp;
        meta.class == Class::Flow
            && (key.transport() == Transport::Udp || resets || !opens)
            && !source::has_options(meta)
            && !stranger::is_nobody(key.src())
            && key.sport() != stranger::FTP_DATA
            && self.defence.asked.has_service(snapshot, key)
    }

    /// The drop reason of such a packet, which belongs to no connection. `None` if it must take
    /// every step.
    #[inline]
    pub(super) fn shed(&mut self, meta: &PacketMeta) -> Option<DropReason> {
        match meta.key.transport() {
            Transport::Tcp => self.defence.has_displaced(self.now).then_some(DropReason::Stray),
            Transport::Udp if self.defence.is_due() => None,
            Transport::Udp => {
                self.defence.note_attempt(self.now, self.table.capacity());
                Some(DropReason::UdpFlood)
            }
        }
    }
}
