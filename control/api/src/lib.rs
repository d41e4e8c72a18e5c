//! The control socket: length-framed JSON between the daemon and its clients.
//!
//! A frame is a big-endian `u32` length and that many bytes of JSON. A client sends an [`Envelope`]
//! of a [`Request`], and the daemon answers by an [`Envelope`] of a [`Response`]. A client may send
//! any number of requests on a connection, one after the other. A listing is answered page by page:
//! an answer that is not the last page has a `next`, and the same request with `from` set to that
//! gives the next page.

#![forbid(unsafe_code)]

mod client;
mod frame;
mod gate;
mod list;
mod message;
mod report;
mod runtime;
mod server;
mod view;
pub mod words;

pub use client::{Ask, Client, ClientError, pages};
pub use frame::{MAX_REQUEST, MAX_RESPONSE};
pub use gate::{Gate, Serve};
pub use list::{Observed, PAGE, page, tunables};
pub use message::{
    ConnectionQuery, Difference, Envelope, ListQuery, Reloaded, Request, Response, TunableView, VERSION,
    Wanted,
};
pub use report::{
    MemoryStatus, NamedCount, PortStatus, PortTraffic, Status, TrafficReport, WorkerStatus, WorkerTraffic,
};
pub use runtime::{
    DEFAULT_RUNTIME_DIR, PATIENCE as CLAIM_PATIENCE, PID_FILE, RuntimeDir, RuntimeDirError, SOCKET,
    SocketKind,
};
pub use server::{Job, Server, ServerOptions};
pub use view::{
    ConnectionFilter, ConnectionRow, DestView, Endpoint, EngineData, Load, LocalAddressView, ServiceView,
    Totals, Traffic,
};
