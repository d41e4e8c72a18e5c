//! Reports of the connection table to control, a page at a time.
//!
//! Control asks for a [`Page`] through one ring and reads [`Report`]s from another. The worker
//! looks at a limited number of slots in each poll, so listing a million connections delays no
//! packet.

use core::net::Ipv4Addr;

use rtrb::Consumer;
use rtrb::Producer;
use rtrb::RingBuffer;

use crate::conn::entry::ConnId;
use crate::conn::entry::Flags;
use crate::conn::table::FlowTable;
use crate::time::Ticks;

/// How many slots a page has at most.
pub const PAGE: u32 = 1024;
/// How many slots the worker looks at in one poll.
const STEP: u32 = 32;

/// A connection, as listings show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnView {
    /// IP protocol number.
    pub protocol: u8,
    /// Number of the protocol's state.
    pub state: u8,
    /// The flags that IPVS knows.
    pub flags: Flags,
    /// CIP and port, host byte order.
    pub client: (Ipv4Addr, u16),
    /// VIP and port.
    pub virt: (Ipv4Addr, u16),
    /// RIP and port.
    pub dest: (Ipv4Addr, u16),
    /// FULLNAT: LIP and port.
    pub local: Option<(Ipv4Addr, u16)>,
    /// Ticks until it expires if no other packet comes; 0 if it is overdue.
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

/// An answer of a worker about its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// One connection.
    Conn(ConnView),
    /// The page is complete. The next one begins at this slot; `None` if there is no other page.
    End(Option<u32>),
}

/// The worker's end of the two rings.
pub struct Reporter {
    asked: Consumer<Page>,
    answers: Producer<Report>,
    /// The rest of the page that is being answered.
    left: Option<Page>,
}

/// Control's end.
pub struct ReportReader {
    /// Pages that control asks for, one at a time.
    pub ask: Producer<Page>,
    /// The worker's answers.
    pub answers: Consumer<Report>,
    /// Whether control has asked for a page and not read its end yet.
    pub pending: bool,
}

/// Makes both ends.
pub fn channel() -> (Reporter, ReportReader) {
    let (ask, asked) = RingBuffer::new(1);
    let (send, answers) = RingBuffer::new(2 * PAGE as usize);
    (Reporter { asked, answers: send, left: None }, ReportReader { ask, answers, pending: false })
}

impl Reporter {
    /// Continues with the page that control asked for. Returns how many slots it looked at.
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
            // The ring has room: checked above.
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
