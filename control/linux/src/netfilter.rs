//! Whether Linux marks packets by rules of nftables or iptables. Balanced packets never pass these
//! rules.
//!
//! The rules of nftables are read over netlink. Newer versions of iptables keep their rules there
//! too. For the old version, only its loaded table can be seen.

use std::io;
use std::time::Duration;

use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::TimeVal;

/// The chains with rules that set marks on IPv4 packets, each once, in words such as `chain
/// PREROUTING of table mangle`. The list is empty when the kernel has no nftables, or does not
/// tell.
pub fn marking_chains() -> Vec<String> {
    let mut chains = Vec::new();
    let mut note = |rule: &[u8]| {
        chains.extend(marking_chain(rule).filter(|chain| !chains.contains(chain)));
    };
    // Rules that cannot be read are not told of, because nobody knows whether they are there.
    if dump(&mut note).is_err() {
        tracing::debug!("the rules of nftables cannot be read");
    }
    let legacy = std::fs::read_to_string("/proc/net/ip_tables_names").unwrap_or_default();
    if legacy.lines().any(|table| table == "mangle") {
        chains.push("table mangle of iptables-legacy".to_owned());
    }
    chains
}

fn dump(each: &mut dyn FnMut(&[u8])) -> io::Result<()> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(PATIENCE.as_secs() as i64, 0))?;
    let mut request = Vec::with_capacity(HEADER + FAMILY);
    request.extend_from_slice(&((HEADER + FAMILY) as u32).to_ne_bytes());
    request.extend_from_slice(&(NFTABLES << 8 | GET_RULE).to_ne_bytes());
    request.extend_from_slice(&(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    // What follows is zero: sequence and port number, then the family (which means all families),
    // the version and the resource.
    request.resize(HEADER + FAMILY, 0);
    socket.send(&request, 0)?;
    let mut buffer = Vec::with_capacity(DATAGRAM);
    loop {
        buffer.clear();
        socket.recv(&mut buffer, 0)?;
        let mut left = buffer.as_slice();
        while let Some(length) = word(left, 0).map(|length| length as usize)
            && length >= HEADER
            && length <= left.len()
        {
            match left.get(4..6).map(|kind| u16::from_ne_bytes([kind[0], kind[1]])) {
                Some(NLMSG_DONE) => return Ok(()),
                Some(NLMSG_ERROR) => return Err(io::ErrorKind::Unsupported.into()),
                Some(kind) if kind == NFTABLES << 8 | NEW_RULE => each(&left[HEADER..length]),
                _ => {}
            }
            left = left.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

/// The chain of a rule, if the rule marks IPv4 packets. `rule` begins with its family.
fn marking_chain(rule: &[u8]) -> Option<String> {
    if !matches!(rule.first()?, &(INET | IPV4)) {
        return None;
    }
    let attributes = rule.get(FAMILY..)?;
    let expressions = attribute(attributes, RULE_EXPRESSIONS)?;
    let marks = attributes_of(expressions).any(|(_, expression)| {
        let data = attribute(expression, EXPR_DATA).unwrap_or_default();
        match attribute(expression, EXPR_NAME).map(text).as_deref() {
            Some("meta") => {
                attribute(data, META_SREG).is_some()
                    && attribute(data, META_KEY).is_some_and(|key| key == META_MARK.to_be_bytes())
            }
            Some("target") => attribute(data, TARGET_NAME).map(text).as_deref() == Some("MARK"),
            _ => false,
        }
    });
    let name = |kind| attribute(attributes, kind).map(text).unwrap_or_default();
    marks.then(|| format!("chain {} of table {}", name(RULE_CHAIN), name(RULE_TABLE)))
}

fn attribute(attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes_of(attributes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

/// The attributes in a list. Each has a length, a kind and a value, and begins on a boundary of
/// four bytes. An attribute that is cut off ends the list.
fn attributes_of(mut left: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let header = left.first_chunk::<4>()?;
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let kind = u16::from_ne_bytes([header[2], header[3]]) & KIND;
        let value = left.get(4..length)?;
        left = left.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk::<4>().map(|word| u32::from_ne_bytes(*word))
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
}

/// How long the kernel may take for each part of its answer.
const PATIENCE: Duration = Duration::from_secs(1);
const DATAGRAM: usize = 1 << 16;
/// Bytes of netlink's header, and of netfilter's header after it
/// (`include/uapi/linux/netfilter/nfnetlink.h`).
const HEADER: usize = 16;
const FAMILY: usize = 4;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP: u16 = 0x300;
/// The bits of an attribute's kind that are not flags.
const KIND: u16 = 0x3fff;
/// `include/uapi/linux/netfilter/nf_tables.h`, as are the others.
const NFTABLES: u16 = 10;
const NEW_RULE: u16 = 6;
const GET_RULE: u16 = 7;
const INET: u8 = 1;
const IPV4: u8 = 2;
const RULE_TABLE: u16 = 1;
const RULE_CHAIN: u16 = 2;
const RULE_EXPRESSIONS: u16 = 4;
const EXPR_NAME: u16 = 1;
const EXPR_DATA: u16 = 2;
const META_KEY: u16 = 2;
const META_SREG: u16 = 3;
const META_MARK: u32 = 3;
const TARGET_NAME: u16 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_that_are_cut_off_end_the_list() {
        let whole = [5, 0, 1, 0, b'x', 0, 0, 0, 6, 0, 2, 0, b'y', 0];
        assert_eq!(attributes_of(&whole).collect::<Vec<_>>(), [(1, &b"x"[..]), (2, &b"y\0"[..])]);
        for length in 0..8 {
            assert!(attributes_of(&whole[..length]).count() <= 1);
        }
        assert_eq!(attributes_of(&[2, 0, 1, 0, 0, 0]).count(), 0, "shorter than itself");
        assert_eq!(marking_chain(&whole), None);
    }
}
