//! Services, destinations and connections as clients see them.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use model::{Counters, DestSpec, ForwardingMethod, Protocol, Rates, ServiceKey, ServiceSpec};

/// Counters, and the rates that are computed from them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// What was counted since the last `-Z`.
    pub counters: Counters,
    /// What is counted in a second.
    pub rates: Rates,
}

/// The counters of the director as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// All services together.
    pub traffic: Traffic,
    /// Connections and templates in the tables.
    pub entries: u64,
    /// How many connections and templates there may be. Linux prints the size of its table here.
    pub table_size: u64,
}

/// One service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceView {
    /// Its slot.
    pub id: u32,
    /// What the user said of it.
    pub spec: ServiceSpec,
    /// Its traffic.
    pub traffic: Traffic,
    /// Its destinations in the scheduler's order.
    pub destinations: Vec<DestView>,
    /// Its local addresses.
    pub local_addresses: Vec<LocalAddressView>,
}

/// One destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DestView {
    /// Its slot.
    pub id: u32,
    /// What the user said of it.
    pub spec: DestSpec,
    /// How much it has to do.
    pub load: Load,
    /// Its traffic.
    pub traffic: Traffic,
    /// Its smoothed response time in microseconds, if it was measured (`wrt`).
    pub response_us: Option<u32>,
}

/// How many connections a destination has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// In an active state.
    pub active: u32,
    /// In any other state.
    pub inactive: u32,
    /// Persistence templates.
    pub persistent: u32,
}

/// One local address (LIP) of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalAddressView {
    /// The address.
    pub addr: IpAddr,
    /// How often no free port was found on it.
    pub conflicts: u64,
    /// Connections that use it.
    pub conns: u64,
}

/// One connection or persistence template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionRow {
    /// The protocol; `None` for the template of a firewall mark (Linux shows `IP`).
    pub protocol: Option<Protocol>,
    /// Seconds until it expires.
    pub expires: u32,
    /// The state's name.
    pub state: String,
    /// CIP and port.
    pub client: SocketAddr,
    /// VIP and port.
    pub target: SocketAddr,
    /// RIP and port.
    pub destination: SocketAddr,
    /// LIP and port (FULLNAT).
    pub local: Option<SocketAddr>,
    /// How its packets travel.
    pub method: ForwardingMethod,
    /// The worker that owns it.
    pub worker: u32,
    /// What a persistence engine keeps of the connection.
    pub engine: Option<EngineData>,
}

/// What a persistence engine keeps of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineData {
    /// The engine's name.
    pub name: String,
    /// The connection's key in the engine: for `sip` the Call-ID.
    pub data: String,
}

/// Which connections to show; an absent field matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConnectionFilter {
    /// Of this protocol.
    pub protocol: Option<Protocol>,
    /// From this client.
    pub client: Option<Endpoint>,
    /// To this virtual endpoint.
    pub target: Option<Endpoint>,
    /// At this destination.
    pub destination: Option<Endpoint>,
    /// In this state.
    pub state: Option<String>,
    /// Of this service.
    pub service: Option<ServiceKey>,
}

/// An address and, if given, a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The address; absent matches all.
    pub addr: Option<IpAddr>,
    /// The port; absent matches all.
    pub port: Option<u16>,
}

impl Endpoint {
    /// Whether `other` is at this endpoint.
    pub fn matches(&self, other: SocketAddr) -> bool {
        self.addr.is_none_or(|addr| addr == other.ip()) && self.port.is_none_or(|port| port == other.port())
    }
}

impl ConnectionFilter {
    /// Whether `row` matches, apart from the service. A row does not name its service, so whoever
    /// makes the rows must look at it.
    pub fn matches(&self, row: &ConnectionRow) -> bool {
        let at = |endpoint: Option<Endpoint>, addr| endpoint.is_none_or(|endpoint| endpoint.matches(addr));
        self.protocol.is_none_or(|protocol| row.protocol == Some(protocol))
            && at(self.client, row.client)
            && at(self.target, row.target)
            && at(self.destination, row.destination)
            && self.state.as_ref().is_none_or(|state| state.eq_ignore_ascii_case(&row.state))
    }
}
