//! The listing of connections, `-L -c`.

use std::net::SocketAddr;

use super::name;
use crate::ipvs::names::Names;
use api::ConnectionRow;
use model::Protocol;

/// The title lines of the table. With `engine`, the data of persistence engines has columns too.
pub fn title(engine: bool) -> String {
    let head =
        format!("IPVS connection entries\npro expire {:<11} {:<18} {:<18} ", "state", "source", "virtual");
    if engine {
        format!("{head}{:<18} {:<16} pe_data\n", "destination", "pe name")
    } else {
        format!("{head}destination\n")
    }
}

/// Rows of the table, in the given order.
pub fn connections(rows: &[ConnectionRow], engine: bool, names: &dyn Names) -> String {
    rows.iter().map(|row| line(row, engine, names)).collect()
}

fn line(row: &ConnectionRow, engine: bool, names: &dyn Names) -> String {
    let at = |addr: SocketAddr| name::endpoint(addr.ip(), addr.port(), row.protocol, names);
    let proto = row.protocol.map_or("IP", Protocol::name);
    let expire = format!("{:02}:{:02}", row.expires / 60, row.expires % 60);
    let (client, target, destination) = (at(row.client), at(row.target), at(row.destination));
    let head = format!("{proto:<3} {expire:<6} {:<11} {client:<18} {target:<18} ", row.state);
    match row.engine.as_ref().filter(|_| engine) {
        Some(data) => format!("{head}{destination:<16} {:<18} {}\n", data.name, data.data),
        None => format!("{head}{destination}\n"),
    }
}
