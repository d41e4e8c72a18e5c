//! The texts of Linux IPVS's files in `/proc/net`, made of a director's answers.
//!
//! The forms are those of `net/netfilter/ipvs/{ip_vs_ctl,ip_vs_conn}.c`. Numbers are hexadecimal
//! where Linux's are. Services and connections are in no particular order. FULLNAT is shown as
//! `Masq`, because programs know no other name.

use std::fmt::Write;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use api::{Ask, ClientError, ConnectionQuery, ConnectionRow, DestView, ListQuery, Request, Response};
use api::{ServiceView, Totals, pages};
use model::{Family, ForwardingMethod, PersistenceMask, Protocol, ServiceFlags, ServiceKey};

use crate::wire::VERSION;

/// A file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum File {
    /// `ip_vs`: services and destinations.
    Services,
    /// `ip_vs_stats`: what is counted of all services together.
    Statistics,
    /// `ip_vs_conn`: connections and templates.
    Connections,
}

impl File {
    /// The file with this name in `/proc/net`.
    pub fn named(name: &[u8]) -> Option<Self> {
        match name {
            b"ip_vs" => Some(Self::Services),
            b"ip_vs_stats" => Some(Self::Statistics),
            b"ip_vs_conn" => Some(Self::Connections),
            _ => None,
        }
    }

    /// Asks the director, and gives the text to `take`, a part at a time.
    pub fn read(self, client: &mut dyn Ask, take: &mut dyn FnMut(String)) -> Result<(), ClientError> {
        if self == Self::Connections {
            take(CONNECTIONS.to_owned());
            let rows = |page: &Response| match page {
                Response::Connections { rows, .. } => Some(rows.iter().map(connection).collect()),
                _ => None,
            };
            return paged(client, Request::Connections(ConnectionQuery::default()), &rows, take);
        }
        let totals = match client.ask(Request::Totals)? {
            Response::Totals(totals) => totals,
            other => return Err(ClientError::unexpected(&other)),
        };
        if self == Self::Statistics {
            take(statistics(&totals));
            return Ok(());
        }
        take(title(totals.table_size));
        let rows = |page: &Response| match page {
            Response::Services { services, .. } => Some(services.iter().map(service).collect()),
            _ => None,
        };
        paged(client, Request::List(ListQuery::default()), &rows, take)
    }
}

/// Gives the text of each page to `take`.
fn paged(
    client: &mut dyn Ask,
    request: Request,
    text: &dyn Fn(&Response) -> Option<String>,
    take: &mut dyn FnMut(String),
) -> Result<(), ClientError> {
    let mut wrong = None;
    pages(client, request, &mut |page| match text(&page) {
        Some(text) => take(text),
        None => wrong = Some(ClientError::unexpected(&page)),
    })?;
    wrong.map_or(Ok(()), Err)
}

fn title(size: u64) -> String {
    let [_, major, minor, patch] = VERSION.to_be_bytes();
    format!(
        "IP Virtual Server version {major}.{minor}.{patch} (size={size})\n\
         Prot LocalAddress:Port Scheduler Flags\n  \
         -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n"
    )
}

fn service(view: &ServiceView) -> String {
    let spec = &view.spec;
    let v6 = spec.key.family() == Family::V6;
    let ops = if spec.flags.contains(ServiceFlags::ONE_PACKET) && !v6 { "ops " } else { "" };
    // Of an address of IPv6 Linux shows no `ops`, and no blank for it.
    let blank = if v6 || matches!(spec.key, ServiceKey::Mark { .. }) { "" } else { " " };
    let mut out = match spec.key {
        ServiceKey::Mark { mark, .. } => format!("FWM  {mark:08X}"),
        ServiceKey::Address { protocol, addr, port } => {
            format!("{:<3}  {}:{port:04X}", name(Some(protocol)), address(addr, true))
        }
    };
    let _ = write!(out, " {} {ops}{blank}", spec.scheduler);
    if spec.flags.contains(ServiceFlags::PERSISTENT) {
        let mask = match spec.netmask {
            PersistenceMask::V4(mask) => u32::from(mask),
            // Linux swaps the bytes of a prefix length too.
            PersistenceMask::V6(length) => length.swap_bytes(),
        };
        let _ = write!(out, "persistent {} {mask:08X}", u64::from(spec.timeout) * TICKS_A_SECOND);
    }
    out.push('\n');
    out.extend(view.destinations.iter().map(destination));
    out
}

fn destination(view: &DestView) -> String {
    let method = match view.spec.method {
        ForwardingMethod::Masquerade | ForwardingMethod::FullNat => "Masq",
        ForwardingMethod::DirectRoute => "Route",
        ForwardingMethod::Tunnel => "Tunnel",
    };
    let at = address(view.spec.key.addr, true);
    format!(
        "  -> {at}:{:04X}      {method:<7} {:<6} {:<10} {:<10}\n",
        view.spec.key.port, view.spec.weight, view.load.active, view.load.inactive
    )
}

fn statistics(totals: &Totals) -> String {
    let (counters, rates) = (&totals.traffic.counters, &totals.traffic.rates);
    format!(
        "   Total Incoming Outgoing         Incoming         Outgoing\n   \
         Conns  Packets  Packets            Bytes            Bytes\n\
         {:8X} {:8X} {:8X} {:16X} {:16X}\n\n \
         Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s\n\
         {:8X} {:8X} {:8X} {:16X} {:16X}\n",
        counters.conns,
        counters.inpkts,
        counters.outpkts,
        counters.inbytes,
        counters.outbytes,
        rates.cps,
        rates.inpps,
        rates.outpps,
        rates.inbps,
        rates.outbps
    )
}

fn connection(row: &ConnectionRow) -> String {
    let at = |addr: SocketAddr| format!("{} {:04X}", address(addr.ip(), false), addr.port());
    let (client, target, dest) = (at(row.client), at(row.target), at(row.destination));
    let engine = row.engine.as_ref().map(|engine| format!(" {} {}", engine.name, engine.data));
    let (protocol, engine) = (name(row.protocol), engine.unwrap_or_default());
    format!("{protocol:<3} {client} {target} {dest} {:<11} {:7}{engine}\n", row.state, row.expires)
}

fn name(protocol: Option<Protocol>) -> &'static str {
    protocol.map_or("IP", Protocol::name)
}

fn address(addr: IpAddr, brackets: bool) -> String {
    match addr {
        IpAddr::V4(addr) => format!("{:08X}", u32::from(addr)),
        IpAddr::V6(addr) if brackets => format!("[{}]", full(addr)),
        IpAddr::V6(addr) => full(addr),
    }
}

/// All digits of an address.
fn full(addr: Ipv6Addr) -> String {
    addr.segments().map(|segment| format!("{segment:04x}")).join(":")
}

const CONNECTIONS: &str = "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n";
/// Linux shows the time of persistence in ticks of its clock, here those of `HZ=100`.
const TICKS_A_SECOND: u64 = 100;

#[cfg(test)]
mod tests {
    use api::Traffic;
    use model::{Change, DestKey, DestSpec, Model, ModelOptions, ServiceSpec};

    use super::*;

    /// A director with rules and one connection.
    struct Rig(Model);

    impl Ask for Rig {
        fn ask(&mut self, request: Request) -> Result<Response, ClientError> {
            Ok(match request {
                Request::List(query) => api::page(&self.0, &(), &query),
                Request::Totals => {
                    let mut traffic = Traffic::default();
                    (traffic.counters.conns, traffic.counters.inbytes) = (17, 0xabc);
                    traffic.rates.outbps = 31;
                    Response::Totals(Totals { traffic, entries: 1, table_size: 4096 })
                }
                Request::Connections(_) => Response::Connections { rows: vec![row()], next: None },
                other => Response::Failed(format!("{other:?}")),
            })
        }
    }

    fn row() -> ConnectionRow {
        let at = |text: &str| text.parse().unwrap();
        ConnectionRow {
            protocol: Some(Protocol::Tcp),
            expires: 897,
            state: "ESTABLISHED".to_owned(),
            client: at("10.1.0.10:40000"),
            target: at("10.0.0.100:80"),
            destination: at("10.0.1.11:8080"),
            local: None,
            method: ForwardingMethod::Masquerade,
            worker: 0,
            engine: None,
        }
    }

    fn read(file: &str) -> String {
        let mut model = Model::new(ModelOptions::all());
        let key = ServiceKey::tcp([10, 0, 0, 100].into(), 80);
        let mut spec = ServiceSpec::new(key, "wrr");
        (spec.flags, spec.timeout) = (ServiceFlags::PERSISTENT, 300);
        model.apply(Change::AddService(spec)).unwrap();
        let dest = DestKey::new(IpAddr::from([10, 0, 1, 11]), 8080);
        let dest = DestSpec::new(dest, ForwardingMethod::Masquerade, 5);
        model.apply(Change::AddDestination(key, dest)).unwrap();
        let mark = ServiceKey::Mark { mark: 1, family: Family::V4 };
        model.apply(Change::AddService(ServiceSpec::new(mark, "wlc"))).unwrap();
        let mut text = String::new();
        File::named(file.as_bytes()).unwrap().read(&mut Rig(model), &mut |part| text += &part).unwrap();
        text
    }

    #[test]
    fn services_look_as_in_linux() {
        let text = read("ip_vs");
        let mut lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.remove(0), "IP Virtual Server version 1.2.1 (size=4096)");
        assert_eq!(lines.remove(0), "Prot LocalAddress:Port Scheduler Flags");
        assert_eq!(lines.remove(0), "  -> RemoteAddress:Port Forward Weight ActiveConn InActConn");
        assert!(lines.contains(&"FWM  00000001 wlc "), "{text}");
        let expected = "TCP  0A000064:0050 wrr  persistent 30000 FFFFFFFF\n  \
                        -> 0A00010B:1F90      Masq    5      0          0         \n";
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn an_ipv6_address_has_all_its_digits() {
        let text = address("2001:db8::1".parse().unwrap(), true);
        assert_eq!(text, "[2001:0db8:0000:0000:0000:0000:0000:0001]");
    }

    #[test]
    fn statistics_and_connections_look_as_in_linux() {
        let expected = "   Total Incoming Outgoing         Incoming         Outgoing
   Conns  Packets  Packets            Bytes            Bytes
      11        0        0              ABC                0

 Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s
       0        0        0                0               1F
";
        assert_eq!(read("ip_vs_stats"), expected);
        let expected = "TCP 0A01000A 9C40 0A000064 0050 0A00010B 1F90 ESTABLISHED     897\n";
        assert_eq!(read("ip_vs_conn"), format!("{CONNECTIONS}{expected}"));
        assert_eq!(File::named(b"ip_vs_app"), None);
    }
}
