//! Why the machine does not suit a configuration.

use crate::config::Device;
use linux::LinkError;

/// The machine does not suit the configuration.
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
    /// An argument of the device is not a number.
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
    /// The MTU is larger than the packet buffers of the driver can be.
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
        /// The largest MTU that is possible.
        most: u32,
        /// What the packets do not fit.
        what: &'static str,
    },
    /// The interface has more queues than a worker polls.
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
        /// The most queues that a worker polls.
        most: u32,
        /// The command that helps.
        command: String,
    },
    /// `start_queue` and `queue_count` name queues that do not exist.
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
    /// `memory_mb` is too small for the packet buffers.
    #[error(
        "`memory_mb` is {memory_mb}, too small for packet buffers of {data_room} bytes and {queues} receive queues; \
         expected at least {needed_mb}, or a lower MTU or fewer queues"
    )]
    Memory {
        /// As configured.
        memory_mb: u32,
        /// Bytes of a packet that a buffer has room for.
        data_room: u16,
        /// The queues of all ports together.
        queues: u32,
        /// Megabytes that would suffice.
        needed_mb: u32,
    },
}
