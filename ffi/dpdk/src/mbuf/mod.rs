//! A packet: one buffer of a pool, owned by whoever holds this value and by nobody else.
//!
//! Made by a pool or a receive queue; ended by a transmit queue, or by dropping it, which gives it
//! back to its pool. It may go from thread to thread but is never in two at once. The bytes between
//! head- and tailroom are the packet; a packet in several pieces ([`Mbuf::segments`]) shows only
//! its first. Everything here is plain field access, without a call into DPDK, but for freeing.
//!
//! Invariant: `data_off + data_len <= buf_len`, and `pkt_len` is the sum over all pieces. Drivers
//! establish it; every method here keeps it.

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

    /// Frees all packets in `frames` at once, which is cheaper than one by one.
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

    /// Grows the packet by `n` bytes in front and gives those, whose content is arbitrary. Nothing
    /// if there is not so much headroom.
    #[inline]
    #[must_use]
    pub fn prepend(&mut self, n: usize) -> Option<&mut [u8]> {
        let raw = self.raw_mut();
        if n > usize::from(raw.data_off) {
            return None;
        }
        // Neither overflows: data_off + data_len <= buf_len, and what one loses the other gains.
        raw.data_off -= n as u16;
        raw.data_len += n as u16;
        raw.pkt_len += n as u32;
        self.data_mut().get_mut(..n)
    }

    /// Grows the packet by `n` bytes in front, whose content is arbitrary, and cuts it to `len`
    /// bytes. False, and no change, if there is not so much headroom, it would not be as long,
    /// or it is in pieces.
    #[inline]
    #[must_use]
    pub fn reframe(&mut self, n: usize, len: usize) -> bool {
        let fits = self.is_contiguous() && {
            let raw = self.raw();
            n <= usize::from(raw.data_off) && len <= usize::from(raw.data_len) + n
        };
        if fits {
            let raw = self.raw_mut();
            // Neither is cut off: n is at most data_off, and len at most data_len + n, which the
            // buffer holds.
            raw.data_off -= n as u16;
            raw.data_len = len as u16;
            raw.pkt_len = len as u32;
        }
        fits
    }

    /// Grows the packet by `n` bytes at the end and gives those, whose content is arbitrary.
    /// Nothing if there is not so much tailroom, or the packet is in pieces.
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

    /// Cuts `n` bytes off the front. `false`, and no change, if the first piece is shorter.
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

    /// Cuts the end off so that `len` bytes stay, for example to lose Ethernet padding. `false`,
    /// and no change, if the packet is shorter, or is in pieces.
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

    /// The packet's bytes: all of them, or the first piece's.
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

    /// Whether there is not a single byte.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// In how many pieces the packet is. More than one only on ports that were granted
    /// `rx_scatter`.
    #[inline]
    pub fn segments(&self) -> u16 {
        self.raw().nb_segs
    }

    /// Whether [`Mbuf::data`] is all of it.
    #[inline]
    pub fn is_contiguous(&self) -> bool {
        self.segments() == 1
    }

    /// How far [`Mbuf::prepend`] can go.
    #[inline]
    pub fn headroom(&self) -> usize {
        usize::from(self.raw().data_off)
    }

    /// How far [`Mbuf::append`] can go.
    #[inline]
    pub fn tailroom(&self) -> usize {
        let raw = self.raw();
        usize::from(raw.buf_len) - usize::from(raw.data_off) - usize::from(raw.data_len)
    }

    /// Where the packet came from, unless a pool made it.
    #[inline]
    pub fn port(&self) -> Option<PortId> {
        let port = self.raw().port;
        (port != NO_PORT).then(|| PortId::new(port))
    }

    /// The hash by which the device chose the queue, if it gives it.
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

    /// The VLAN tag (priority, DEI, id; host order) that the device took off the packet, if it did.
    #[inline]
    pub fn stripped_vlan(&self) -> Option<u16> {
        let raw = self.raw();
        (raw.ol_flags & RX_VLAN_STRIPPED != 0).then_some(raw.vlan_tci)
    }

    /// Has the device put a VLAN tag (host order) in when it sends. For ports that were granted
    /// `tx_vlan_insert`.
    #[inline]
    pub fn set_vlan_insert(&mut self, tci: u16) {
        let raw = self.raw_mut();
        raw.vlan_tci = tci;
        raw.ol_flags |= TX_VLAN;
    }

    /// Starts loading the packet's first line: its Ethernet, IP and most of its transport header.
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
