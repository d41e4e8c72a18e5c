//! A packet: one buffer of a pool. The holder of the value is its only owner.
//!
//! A pool or a receive queue makes a packet. A transmit queue takes it, or its owner drops it;
//! dropping gives it back to its pool. It may go from thread to thread but is never in two at once.
//! The packet is the bytes between headroom and tailroom; of a packet in several pieces
//! ([`Mbuf::segments`]) only the first piece can be seen. Apart from freeing, everything here is
//! plain field access without a call into DPDK.
//!
//! Invariant: `data_off + data_len <= buf_len`, and `pkt_len` is the sum of `data_len` over all
//! pieces. Drivers establish it; every method here keeps it.

pub(crate) mod checksum;

use core::fmt;
use core::ptr::NonNull;

use arrayvec::ArrayVec;
use dpdk_sys::rte_mbuf;

use crate::port::PortId;
use crate::prefetch::prefetch_at;

/// A packet.
#[must_use = "dropping a packet frees it"]
#[repr(transparent)]
pub struct Mbuf(NonNull<rte_mbuf>);

// SAFETY: an Mbuf is the only way to its buffer, so it may change threads; pools take packets back
// from any thread.
unsafe impl Send for Mbuf {}

// The transmit and receive queues hand arrays of Mbuf to DPDK as arrays of pointers.
const _: () = assert!(size_of::<Mbuf>() == size_of::<*mut rte_mbuf>());
const _: () = assert!(align_of::<Mbuf>() == align_of::<*mut rte_mbuf>());

impl Mbuf {
    /// Takes over a packet.
    ///
    /// # Safety
    /// `raw` is a packet that is not in its pool and that nobody else holds.
    #[inline]
    pub(crate) unsafe fn from_raw(raw: NonNull<rte_mbuf>) -> Self {
        Self(raw)
    }

    /// Frees all packets in `frames` at once. That is cheaper than one by one.
    #[inline]
    pub fn free_bulk<const N: usize>(frames: &mut ArrayVec<Self, N>) {
        let count = frames.len() as u32;
        // SAFETY: 0 is below the capacity; the packets are given up before they are freed.
        unsafe { frames.set_len(0) };
        // SAFETY: the array's first `count` pointers are packets that were owned by it until the
        // line above.
        unsafe { dpdk_sys::rte_pktmbuf_free_bulk(frames.as_mut_ptr().cast(), count) };
    }

    /// The packet's bytes, to change in place.
    #[inline]
    pub fn data_mut(&mut self) -> &mut [u8] {
        let (start, len) = (self.start(), usize::from(self.raw().data_len));
        // SAFETY: the bytes are inside the buffer (module invariant), initialised since the pool
        // was made, and borrowed as long as this packet is.
        unsafe { core::slice::from_raw_parts_mut(start, len) }
    }

    /// Grows the packet by `n` bytes in front and returns the new bytes. Their content is
    /// arbitrary. Returns `None` if the headroom is too small.
    #[inline]
    #[must_use]
    pub fn prepend(&mut self, n: usize) -> Option<&mut [u8]> {
        let raw = self.raw_mut();
        if n > usize::from(raw.data_off) {
            return None;
        }
        // No overflow: data_off + data_len <= buf_len, and the sum does not change.
        raw.data_off -= n as u16;
        raw.data_len += n as u16;
        raw.pkt_len += n as u32;
        self.data_mut().get_mut(..n)
    }

    /// Grows the packet by `n` bytes in front, with arbitrary content, and then cuts it to `len`
    /// bytes. Returns `false` and changes nothing if the headroom is too small, if the grown packet
    /// is shorter than `len`, or if it is in pieces.
    #[inline]
    #[must_use]
    pub fn reframe(&mut self, n: usize, len: usize) -> bool {
        let fits = self.is_contiguous() && {
            let raw = self.raw();
            n <= usize::from(raw.data_off) && len <= usize::from(raw.data_len) + n
        };
        if fits {
            let raw = self.raw_mut();
            // Both casts are exact: n is at most data_off, and len is at most data_len + n, which
            // fits the buffer.
            raw.data_off -= n as u16;
            raw.data_len = len as u16;
            raw.pkt_len = len as u32;
        }
        fits
    }

    /// Grows the packet by `n` bytes at the end and returns the new bytes. Their content is
    /// arbitrary. Returns `None` if the tailroom is too small, or the packet is in pieces.
    #[inline]
    #[must_use]
    pub fn append(&mut self, n: usize) -> Option<&mut [u8]> {
        if n > self.tailroom() || !self.is_contiguous() {
            return None;
        }
        let raw = self.raw_mut();
        let old = usize::from(raw.data_len);
        raw.data_len += n as u16;
        raw.pkt_len += n as u32;
        self.data_mut().get_mut(old..)
    }

    /// Cuts `n` bytes off the front. Returns `false` and changes nothing if the first piece is
    /// shorter.
    #[inline]
    #[must_use]
    pub fn trim_front(&mut self, n: usize) -> bool {
        let raw = self.raw_mut();
        if n > usize::from(raw.data_len) {
            return false;
        }
        raw.data_off += n as u16;
        raw.data_len -= n as u16;
        raw.pkt_len -= n as u32;
        true
    }

    /// Cuts the end off so that `len` bytes stay, for example to remove Ethernet padding. Returns
    /// `false` and changes nothing if the packet is shorter or is in pieces.
    #[inline]
    #[must_use]
    pub fn truncate(&mut self, len: usize) -> bool {
        if !self.is_contiguous() || len > usize::from(self.raw().data_len) {
            return false;
        }
        let raw = self.raw_mut();
        raw.data_len = len as u16;
        raw.pkt_len = len as u32;
        true
    }

    /// The packet's bytes; of a packet in pieces, the bytes of the first piece.
    #[inline]
    pub fn data(&self) -> &[u8] {
        // SAFETY: as in data_mut, and borrowed shared.
        unsafe { core::slice::from_raw_parts(self.start(), usize::from(self.raw().data_len)) }
    }

    /// The packet's length, all pieces together.
    #[inline]
    pub fn len(&self) -> usize {
        self.raw().pkt_len as usize
    }

    /// Whether the packet has no bytes.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many pieces the packet has. More than one only on ports that were granted `rx_scatter`.
    #[inline]
    pub fn segments(&self) -> u16 {
        self.raw().nb_segs
    }

    /// Whether [`Mbuf::data`] is the whole packet.
    #[inline]
    pub fn is_contiguous(&self) -> bool {
        self.segments() == 1
    }

    /// How many bytes [`Mbuf::prepend`] can add.
    #[inline]
    pub fn headroom(&self) -> usize {
        usize::from(self.raw().data_off)
    }

    /// How many bytes [`Mbuf::append`] can add.
    #[inline]
    pub fn tailroom(&self) -> usize {
        let raw = self.raw();
        usize::from(raw.buf_len) - usize::from(raw.data_off) - usize::from(raw.data_len)
    }

    /// The port that received the packet; `None` if a pool made it.
    #[inline]
    pub fn port(&self) -> Option<PortId> {
        let port = self.raw().port;
        (port != NO_PORT).then(|| PortId::new(port))
    }

    /// The hash by which the device chose the queue, if the device tells it.
    #[inline]
    pub fn rss_hash(&self) -> Option<u32> {
        let raw = self.raw();
        if raw.ol_flags & RX_RSS_HASH == 0 {
            return None;
        }
        // SAFETY: the outer union has this one member.
        let hash = unsafe { raw.__bindgen_anon_2.hash };
        // SAFETY: the flag says that the driver wrote this member.
        Some(unsafe { hash.rss })
    }

    /// The VLAN tag (priority, DEI, id; host order), if the device took one off the packet.
    #[inline]
    pub fn stripped_vlan(&self) -> Option<u16> {
        let raw = self.raw();
        (raw.ol_flags & RX_VLAN_STRIPPED != 0).then_some(raw.vlan_tci)
    }

    /// Asks the device to insert a VLAN tag (host order) when it sends. Use it only on ports that
    /// were granted `tx_vlan_insert`.
    #[inline]
    pub fn set_vlan_insert(&mut self, tci: u16) {
        let raw = self.raw_mut();
        raw.vlan_tci = tci;
        raw.ol_flags |= TX_VLAN;
    }

    /// Starts loading the packet's first cache line: its Ethernet header, its IP header and most of
    /// its transport header.
    #[inline(always)]
    pub fn prefetch(&self) {
        prefetch_at(self.start());
    }

    #[inline(always)]
    fn start(&self) -> *mut u8 {
        let raw = self.raw();
        // SAFETY: data_off is inside the buffer, or one past its end (module invariant).
        unsafe { raw.buf_addr.cast::<u8>().add(usize::from(raw.data_off)) }
    }

    #[inline(always)]
    pub(crate) fn raw(&self) -> &rte_mbuf {
        // SAFETY: this value owns the packet, so it is there and nobody changes it meanwhile.
        unsafe { self.0.as_ref() }
    }

    #[inline(always)]
    pub(crate) fn raw_mut(&mut self) -> &mut rte_mbuf {
        // SAFETY: this value owns the packet, and is borrowed exclusively.
        unsafe { self.0.as_mut() }
    }
}

impl Drop for Mbuf {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: owned by this value, which is never used again.
        unsafe { dpdk_sys::rte_pktmbuf_free(self.0.as_ptr()) };
    }
}

impl fmt::Debug for Mbuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mbuf")
            .field("len", &self.len())
            .field("segments", &self.segments())
            .field("headroom", &self.headroom())
            .field("port", &self.port())
            .finish_non_exhaustive()
    }
}

const NO_PORT: u16 = u16::MAX;
const RX_RSS_HASH: u64 = dpdk_sys::RTE_MBUF_F_RX_RSS_HASH;
const RX_VLAN_STRIPPED: u64 = dpdk_sys::RTE_MBUF_F_RX_VLAN_STRIPPED;
const TX_VLAN: u64 = dpdk_sys::RTE_MBUF_F_TX_VLAN;
