//! Shows what a device can do. Starts each given device and prints what it granted. Then, for
//! `--seconds`, sends every packet back with its hardware addresses swapped.
//!
//! ```text
//! probe [--huge] [--seconds N] [--mtu N] [--packets N] [--queues N] [--debug] DEVICE...
//! ```
#![allow(clippy::print_stdout, reason = "a command-line tool")]

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;
use std::time::Instant;

use arrayvec::ArrayVec;
use dpdk::Eal;
use dpdk::EalArgs;
use dpdk::LogLevel;
use dpdk::Mbuf;
use dpdk::Mempool;
use dpdk::Offloads;
use dpdk::Pci;
use dpdk::PortBuilder;
use dpdk::Rss;

fn main() -> ExitCode {
    match probe() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("probe: {error}");
            ExitCode::FAILURE
        }
    }
}

fn probe() -> Result<(), Box<dyn Error>> {
    let mut eal_args = EalArgs::new().hugepages(false).memory_mb(256).file_prefix("probe");
    let (mut seconds, mut mtu, mut packets, mut queues) = (1, None, 16383, 1);
    let mut devices = Vec::new();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut number =
            || args.next().ok_or(format!("{arg} needs a number"))?.parse::<u32>().map_err(|e| e.to_string());
        match arg.as_str() {
            "--debug" => eal_args = eal_args.log_level(LogLevel::Debug),
            "--huge" => eal_args = eal_args.hugepages(true).pci(Pci::OnAttach),
            "--mtu" => mtu = Some(number()? as u16),
            "--packets" => packets = number()?,
            "--queues" => queues = number()? as u16,
            "--seconds" => seconds = number()?,
            _ => devices.push(arg),
        }
    }

    let eal = Eal::init(eal_args)?;
    let pool = Mempool::new(&eal, "probe", packets, 256, Mempool::DATA_ROOM)?;
    let mut ports = Vec::new();
    for device in &devices {
        let builder = PortBuilder::new(&eal, eal.attach(device)?);
        let builder =
            builder.mempool(&pool).want(ALL).rss(Rss::default()).rx_queues(queues).tx_queues(queues);
        let builder = if let Some(mtu) = mtu { builder.mtu(mtu) } else { builder };
        let port = builder.promiscuous(true).start()?;
        println!(
            "{} ({}, link {}, mac {:02x?}): {}",
            port.device(),
            port.driver(),
            port.link(),
            port.mac(),
            port.granted()
        );
        ports.push(port);
    }
    let mut queues = Vec::new();
    for port in &mut ports {
        queues
            .extend((0..port.granted().rx_queues).filter_map(|i| Some((port.take_rx(i)?, port.take_tx(i)?))));
    }

    let end = Instant::now() + Duration::from_secs(seconds.into());
    let mut frames = ArrayVec::<Mbuf, 32>::new();
    while Instant::now() < end {
        for (rx, tx) in &mut queues {
            rx.rx_burst(&mut frames);
            for frame in &mut frames {
                if let Some((to, from)) = frame.data_mut().get_mut(..12).map(|macs| macs.split_at_mut(6)) {
                    to.swap_with_slice(from);
                }
            }
            tx.tx_burst(&mut frames);
            Mbuf::free_bulk(&mut frames);
        }
    }
    for port in &ports {
        println!("{}: {:?}", port.device(), port.stats()?);
    }
    drop((queues, ports));
    for device in &devices {
        eal.detach(device)?;
    }
    println!("{} of {} packets came home", pool.available(), pool.capacity());
    drop(pool);
    if let Err(why) = eal.cleanup() {
        println!("{why}");
    }
    Ok(())
}

const ALL: Offloads = Offloads {
    rx_scatter: true,
    rx_vlan_strip: true,
    tx_segments: true,
    tx_vlan_insert: true,
    ..Offloads::CHECKSUMS_AND_HASH
};
