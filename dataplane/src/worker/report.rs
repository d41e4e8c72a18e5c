//! The connection table, told to control a page at a time.
//!
//! Control asks for a [`Page`] through one ring and reads [`Report`]s from another; the worker
//! looks at a bounded number of slots a poll, so that listing a million connections delays no
//! packet.

use core::net::Ipv4Addr;

use rtrb::Consumer;
use rtrb::Producer;
use rtrb::RingBuffer;

use crate::conn::entry::ConnId;
use crate::conn::entry::Flags;
use crate::conn::table::FlowTable;
use crate::time::Ticks;

/// Slots in a page at most.
pub const PAGE: u32 = 1024;
/// Slots looked at in one poll.
const STEP: u32 = 32;

/// A connection as listings show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnView {
    /// IP protocol number.
    pub protocol: u8,
    /// Number of the protocol's state.
    pub state: u8,
    /// IPVS's flag bits.
    pub flags: Flags,
    /// CIP and port, host order.
    pub client: (Ipv4Addr, u16),
    /// VIP and port.
    pub virt: (Ipv4Addr, u16),
    /// RIP and port.
    pub dest: (Ipv4Addr, u16),
    /// FULLNAT: LIP and port.
    pub local: Option<(Ipv4Addr, u16)>,
    /// Ticks until it expires unless another packet comes; 0 when overdue.
    pub expires_in: u32,
    /// [`sched::DestId`], or [`crate::conn::entry::NONE`].
    pub dest_id: u32,
    /// Slot of the service.
    pub service: u32,
}

/// A page that control asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// The first slot to look at.
    pub from: u32,
    /// How many slots to look at; at most [`PAGE`].
    pub slots: u32,
}

/// What a worker says of its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// One connection.
    Conn(ConnView),
    /// That was the page. The next one begins at this slot; `None` when there is none.
    End(Option<u32>),
}

/// The worker's end of the two rings.
pub struct Reporter {
    asked: Consumer<Page>,
    answers: Producer<Report>,
    /// What is left of the page under way.
    left: Option<Page>,
}

/// Control's end.
pub struct ReportReader {
    /// Pages wanted, one at a time.
    pub ask: Producer<Page>,
    /// What the worker says.
    pub answers: Consumer<Report>,
    /// A page was asked for whose end nobody has read yet.
    pub pending: bool,
}

/// Two joined ends.
pub fn channel() -> (Reporter, ReportReader) {
    let (ask, asked) = RingBuffer::new(1);
    let (send, answers) = RingBuffer::new(2 * PAGE as usize);
    (Reporter { asked, answers: send, left: None }, ReportReader { ask, answers, pending: false })
}

impl Reporter {
    /// Goes on with the page that control asked for; the number of slots looked at.
    #[inline]
    pub(crate) fn serve(&mut self, table: &FlowTable, now: Ticks) -> usize {
        if self.left.is_none() {
            self.left = self.asked.pop().ok();
        }
        self.left.map_or(0, |left| self.go_on(table, now, left))
    }

    #[cold]
    fn go_on(&mut self, table: &FlowTable, now: Ticks, left: Page) -> usize {
        let n = left.slots.min(PAGE).min(STEP);
        if self.answers.slots() <= STEP as usize {
            return 0;
        }
        for id in table.iter_from(left.from, n) {
            // There is room: looked at above.
            let _ = self.answers.push(Report::Conn(view(table, id, now)));
        }
        let from = left.from.saturating_add(n);
        self.left = Some(Page { from, slots: left.slots - n });
        if left.slots == n || from >= table.capacity() {
            let _ = self.answers.push(Report::End((from < table.capacity()).then_some(from)));
            self.left = None;
        }
        n as usize
    }
}

fn view(table: &FlowTable, id: ConnId, now: Ticks) -> ConnView {
    let (hot, cold) = (table.hot(id), table.cold(id));
    let full_nat = cold.local != crate::conn::entry::NONE;
    ConnView {
        protocol: hot.request.protocol(),
        state: hot.state,
        flags: hot.flags.shared(),
        client: (hot.request.src(), hot.request.sport()),
        virt: (hot.request.dst(), hot.request.dport()),
        dest: (Ipv4Addr::from(cold.daddr), cold.dport),
        local: full_nat.then(|| (hot.reply.dst(), hot.reply.dport())),
        expires_in: hot.expires.since(now).max(0).cast_unsigned(),
        dest_id: hot.dest,
        service: cold.service,
    }
}
