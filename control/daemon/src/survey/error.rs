//! Why the machine does not suit a configuration.

use crate::config::Device;
use linux::LinkError;

/// What the machine has does not suit the configuration.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    /// The interface under a port.
    #[error("port {port}: {source}")]
    Link {
        /// The port's name.
        port: String,
        /// What is wrong.
        source: LinkError,
    },
    /// An argument of the device is no number.
    #[error("port {port}: `{key}` of {device} cannot be `{value}`; expected a whole number")]
    Argument {
        /// The port's name.
        port: String,
        /// The argument.
        key: &'static str,
        /// The device.
        device: Device,
        /// What it says.
        value: String,
    },
    /// An MTU that no packet buffer of the driver holds.
    #[error(
        "port {port}: {iface} has MTU {mtu}, and packets above {most} bytes do not fit {what}; \
         lower it: `ip link set {iface} mtu {most}`"
    )]
    Mtu {
        /// The port's name.
        port: String,
        /// The interface.
        iface: String,
        /// Its MTU.
        mtu: u32,
        /// The largest that is carried.
        most: u32,
        /// What they do not fit.
        what: &'static str,
    },
    /// More queues than are polled.
    #[error(
        "port {port}: {iface} has {queues} receive queues, and the worker looks after {most} at most; \
         leave it that many: `{command}`"
    )]
    Queues {
        /// The port's name.
        port: String,
        /// The interface.
        iface: String,
        /// Its queues.
        queues: u32,
        /// The most.
        most: u32,
        /// What helps.
        command: String,
    },
    /// `start_queue` and `queue_count` name queues that are not there.
    #[error(
        "port {port}: {iface} has {queues} receive queues, numbered from 0, and `start_queue` and `queue_count` ask for \
         {first} to {last}"
    )]
    NoQueue {
        /// The port's name.
        port: String,
        /// The interface.
        iface: String,
        /// Its queues.
        queues: u32,
        /// The first that is asked for.
        first: u32,
        /// The last.
        last: u32,
    },
    /// Packet buffers for all that.
    #[error(
        "`memory_mb` is {memory_mb}, too small for packet buffers of {data_room} bytes and {queues} receive queues; \
         expected at least {needed_mb}, or a lower MTU or fewer queues"
    )]
    Memory {
        /// As configured.
        memory_mb: u32,
        /// Room of a buffer.
        data_room: u16,
        /// All ports' queues.
        queues: u32,
        /// What would do.
        needed_mb: u32,
    },
}
