//! Frames that an independent library builds and reads.

use std::net::Ipv4Addr;

use dataplane::wire::ether::Mac;

use super::ACK;
use super::FIN;
use super::RST;
use super::SYN;

/// A TCP frame.
pub fn tcp(mac: Mac, from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), flags: u8, payload: &[u8]) -> Vec<u8> {
    tcp_ttl(mac, from, to, flags, payload, 64)
}

pub fn tcp_ttl(
    mac: Mac,
    from: (Ipv4Addr, u16),
    to: (Ipv4Addr, u16),
    flags: u8,
    payload: &[u8],
    ttl: u8,
) -> Vec<u8> {
    let mut step = etherparse::PacketBuilder::ethernet2([2, 9, 9, 9, 9, 9], mac.0)
        .ipv4(from.0.octets(), to.0.octets(), ttl)
        .tcp(from.1, to.1, 1000, 4096);
    if flags & SYN != 0 {
        step = step.syn();
    }
    if flags & ACK != 0 {
        step = step.ack(77);
    }
    if flags & FIN != 0 {
        step = step.fin();
    }
    if flags & RST != 0 {
        step = step.rst();
    }
    let mut out = Vec::new();
    step.write(&mut out, payload).unwrap();
    out
}

pub fn udp(mac: Mac, from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), payload: &[u8]) -> Vec<u8> {
    let step = etherparse::PacketBuilder::ethernet2([2, 9, 9, 9, 9, 9], mac.0)
        .ipv4(from.0.octets(), to.0.octets(), 64)
        .udp(from.1, to.1);
    let mut out = Vec::new();
    step.write(&mut out, payload).unwrap();
    out
}

/// A frame as the library reads it. Both checksums are checked by full recomputation.
#[derive(Debug, PartialEq, Eq)]
pub struct Seen {
    pub dst_mac: [u8; 6],
    pub src_mac: [u8; 6],
    pub src: (Ipv4Addr, u16),
    pub dst: (Ipv4Addr, u16),
    pub ttl: u8,
    pub tos: u8,
    pub df: bool,
    pub protocol: u8,
    pub payload: Vec<u8>,
}

/// Reads a frame. Panics if a checksum is wrong.
pub fn read(frame: &[u8]) -> Seen {
    let packet = etherparse::SlicedPacket::from_ethernet(frame).expect("the frame is not a whole packet");
    let Some(etherparse::NetSlice::Ipv4(ip)) = &packet.net else { panic!("not IPv4") };
    let header = ip.header().to_header();
    assert_eq!(header.header_checksum, header.calc_header_checksum(), "wrong IPv4 checksum");
    let Some(etherparse::LinkSlice::Ethernet2(ether)) = &packet.link else { panic!("not Ethernet") };
    let (ports, payload) = match &packet.transport {
        Some(etherparse::TransportSlice::Tcp(tcp)) => {
            let sum = tcp.calc_checksum_ipv4(header.source, header.destination).unwrap();
            assert_eq!(tcp.checksum(), sum, "wrong TCP checksum");
            ((tcp.source_port(), tcp.destination_port()), tcp.payload().to_vec())
        }
        Some(etherparse::TransportSlice::Udp(udp)) => {
            if udp.checksum() != 0 {
                let sum = udp.to_header().calc_checksum_ipv4(&header, udp.payload()).unwrap();
                assert_eq!(udp.checksum(), sum, "wrong UDP checksum");
            }
            ((udp.source_port(), udp.destination_port()), udp.payload().to_vec())
        }
        _ => ((0, 0), ip.payload().payload.to_vec()),
    };
    Seen {
        dst_mac: ether.destination(),
        src_mac: ether.source(),
        src: (header.source.into(), ports.0),
        dst: (header.destination.into(), ports.1),
        ttl: header.time_to_live,
        tos: header.dscp.value() << 2 | header.ecn.value(),
        df: header.dont_fragment,
        protocol: header.protocol.0,
        payload,
    }
}

/// Recomputes the IPv4 header checksum of an untagged frame.
pub fn fix_ip(frame: &mut [u8]) {
    let end = 14 + usize::from(frame[14] & 0xf) * 4;
    frame[24..26].copy_from_slice(&[0, 0]);
    let sum = dataplane::wire::checksum::compute(&frame[14..end]);
    frame[24..26].copy_from_slice(&sum);
}
