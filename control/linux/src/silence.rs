//! Keeps Linux from answering packets that a port's device receives as well.
//!
//! An `AF_PACKET` socket gets a copy of each frame, and the kernel handles the frame all the same.
//! It would answer ARP for the VIP, which it owns, and reset the TCP connections that the director
//! balances. A chain at the interface's ingress drops all frames and so prevents that. Sockets get
//! their copy before the chain (`net/core/dev.c: __netif_receive_skb_core`).
//!
//! The chain's table belongs to the socket that made it (`NFT_TABLE_F_OWNER`). The kernel removes
//! it when the process ends, in whatever way that happens. Kernels older than 5.12 have ordinary
//! tables only: then the process removes the table at its end, and the next start replaces a table
//! that a killed process left.

use std::io;

use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE};
use netlink_sys::protocols::NETLINK_NETFILTER;
use nix::errno::Errno;

use super::wire::{Body, Line, Message};

const NFPROTO_NETDEV: u8 = 5;
const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFNL_MSG_BATCH_BEGIN: u16 = 0x10;
const NFNL_MSG_BATCH_END: u16 = 0x11;
const NFT_MSG_NEWTABLE: u16 = 0;
const NFT_MSG_DELTABLE: u16 = 2;
const NFT_MSG_NEWCHAIN: u16 = 3;
const NFTA_TABLE_NAME: u16 = 1;
const NFTA_TABLE_FLAGS: u16 = 2;
const NFT_TABLE_F_OWNER: u32 = 2;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_CHAIN_TYPE: u16 = 7;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_PRIORITY: u16 = 2;
const NFTA_HOOK_DEV: u16 = 3;
const NF_NETDEV_INGRESS: u32 = 0;
const NF_DROP: u32 = 0;
/// Before all chains that the operator has there.
const PRIORITY: i32 = -500;

/// Linux does not hear an interface as long as this lives.
#[derive(Debug)]
pub struct Silence {
    line: Line,
    table: String,
    owned: bool,
}

/// Linux could not be kept from hearing an interface.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot keep Linux from answering on {iface}: {}; without that Linux would reset the connections whose packets it \
     sees too: use af_xdp:{iface}",
    explain(source)
)]
pub struct SilenceError {
    iface: String,
    source: io::Error,
}

impl Silence {
    /// From now on, drops what `iface` receives, after the sockets have got their copies.
    pub fn over(iface: &str) -> Result<Self, SilenceError> {
        Self::make(iface).map_err(|source| SilenceError { iface: iface.to_owned(), source })
    }

    fn make(iface: &str) -> io::Result<Self> {
        let mut line = Line::open(NETLINK_NETFILTER)?;
        let table = format!("vipline-{iface}");
        // Removes what a killed process left. Mostly there is nothing.
        let _ = line.batch(&batch(&[delete(&table)]));
        let owned = line.batch(&batch(&create(&table, iface, NFT_TABLE_F_OWNER)));
        let owned = match owned {
            Ok(()) => true,
            Err(e)
                if matches!(
                    e.raw_os_error().map(Errno::from_raw),
                    Some(Errno::EINVAL | Errno::EOPNOTSUPP)
                ) =>
            {
                line.batch(&batch(&create(&table, iface, 0)))?;
                false
            }
            Err(e) => return Err(e),
        };
        Ok(Self { line, table, owned })
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        if !self.owned
            && let Err(why) = self.line.batch(&batch(&[delete(&self.table)]))
        {
            tracing::warn!("cannot remove the nftables table netdev {}: {why}", self.table);
        }
    }
}

fn create(table: &str, iface: &str, flags: u32) -> [Message; 2] {
    let hook = Body::default()
        .with(NFTA_HOOK_HOOKNUM, &NF_NETDEV_INGRESS.to_be_bytes())
        .with(NFTA_HOOK_PRIORITY, &PRIORITY.to_be_bytes())
        .with_text(NFTA_HOOK_DEV, iface);
    let new_table = netdev().with_text(NFTA_TABLE_NAME, table).with(NFTA_TABLE_FLAGS, &flags.to_be_bytes());
    let new_chain = netdev()
        .with_text(NFTA_CHAIN_TABLE, table)
        .with_text(NFTA_CHAIN_NAME, "ingress")
        .with_nest(NFTA_CHAIN_HOOK, &hook)
        .with(NFTA_CHAIN_POLICY, &NF_DROP.to_be_bytes())
        .with_text(NFTA_CHAIN_TYPE, "filter");
    [
        Message::new(kind(NFT_MSG_NEWTABLE), NLM_F_CREATE | NLM_F_ACK, new_table),
        Message::new(kind(NFT_MSG_NEWCHAIN), NLM_F_CREATE | NLM_F_ACK, new_chain),
    ]
}

fn delete(table: &str) -> Message {
    Message::new(kind(NFT_MSG_DELTABLE), NLM_F_ACK, netdev().with_text(NFTA_TABLE_NAME, table))
}

/// A transaction: the kernel does all of it or nothing (`net/netfilter/nfnetlink.c:
/// nfnetlink_rcv_batch`).
fn batch(messages: &[Message]) -> Vec<Message> {
    let [high, low] = NFNL_SUBSYS_NFTABLES.to_be_bytes();
    let mark = |kind| Message::new(kind, 0, Body::new(&[0, 0, high, low]));
    let mut all = vec![mark(NFNL_MSG_BATCH_BEGIN)];
    all.extend_from_slice(messages);
    all.push(mark(NFNL_MSG_BATCH_END));
    all
}

fn netdev() -> Body {
    Body::new(&[NFPROTO_NETDEV, 0, 0, 0])
}

fn kind(message: u16) -> u16 {
    NFNL_SUBSYS_NFTABLES << 8 | message
}

fn explain(error: &io::Error) -> String {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EPERM) => "not permitted; run as root or with CAP_NET_ADMIN".to_owned(),
        Some(Errno::EPROTONOSUPPORT | Errno::EOPNOTSUPP | Errno::EINVAL | Errno::ENOENT) => {
            format!("this kernel has no nftables for network devices (CONFIG_NF_TABLES_NETDEV): {error}")
        }
        _ => error.to_string(),
    }
}
