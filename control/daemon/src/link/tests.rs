use super::*;

fn lost(not_fetched: &[u64]) -> u64 {
    let mut ring = Ring::default();
    not_fetched.iter().for_each(|count| ring.look(*count));
    ring.lost
}

#[test]
fn packets_on_their_way_are_not_lost() {
    assert_eq!(lost(&[500, 0, 300, 0]), 0);
    assert_eq!(lost(&[0, 7000, 6500, 6500]), 6500);
    assert_eq!(lost(&[6500, 6500, 0]), 6500);
}

/// A host interface and what was done to it. It refuses everything when it is told to.
#[derive(Default)]
struct Host {
    refuses: bool,
    mtu: u32,
    carrier: Option<bool>,
}

impl Host {
    fn answer(&self) -> io::Result<()> {
        if self.refuses { Err(io::ErrorKind::PermissionDenied.into()) } else { Ok(()) }
    }
}

impl HostLinks for Host {
    fn mtu_now(&mut self, _: u32) -> Option<u32> {
        Some(self.mtu)
    }

    fn give_mtu(&mut self, _: u32, mtu: u32) -> io::Result<()> {
        self.answer().map(|()| self.mtu = mtu)
    }

    fn give_carrier(&mut self, _: u32, carrier: bool) -> io::Result<()> {
        self.answer().map(|()| self.carrier = Some(carrier))
    }
}

const MAC: Mac = Mac([2; 6]);

fn iface(name: &str, mtu: u32, carrier: bool) -> Iface {
    Iface { name: name.to_owned(), mac: Some(MAC), mtu, up: true, carrier, ..Iface::default() }
}

fn port(mtu: u32) -> PortLink {
    let under = Under {
        ifindex: 3,
        name: "eth0".to_owned(),
        mac: MAC,
        largest_mtu: 9000,
        queues: 1,
        chosen: false,
        ring: false,
    };
    PortLink { under: Some(under), host: (7, "wan".to_owned()), mtu, ..PortLink::default() }
}

/// What the log is to say now. Warnings begin with `!`.
fn said(port: &mut PortLink) -> Vec<String> {
    let line = |news| match news {
        News::Good(text) => text,
        News::Bad(text) => format!("!{text}"),
    };
    port.news.drain(..).map(line).collect()
}

#[test]
fn a_carrier_that_cannot_be_set_is_told_once_however_often_the_link_changes() {
    let (mut port, mut host) = (port(1500), Host { refuses: true, mtu: 1500, carrier: None });
    let mut told = Vec::new();
    for carrier in [false, true, false, true, false] {
        port.follow_interface(&iface("eth0", 1500, carrier), &iface("wan", 1500, !carrier), &mut host);
        for _ in 0..3 {
            port.show_carrier(&mut host);
        }
        told.extend(said(&mut port).into_iter().filter(|line| line.contains("cannot set")));
    }
    assert_eq!((told.len(), port.troubles().count()), (1, 1), "{told:?}");
    host.refuses = false;
    port.show_carrier(&mut host);
    assert_eq!((host.carrier, port.troubles().count()), (Some(false), 0));
    assert_eq!(said(&mut port), ["the carrier of the host interface could be set again"]);
}

#[test]
fn an_older_picture_of_the_host_interface_is_nobodys_fault() {
    let (mut port, mut host) = (port(9000), Host { mtu: 9000, ..Host::default() });
    port.follow_interface(&iface("eth0", 1500, true), &iface("wan", 9000, true), &mut host);
    assert_eq!((said(&mut port), host.mtu), (vec!["MTU 1500, as its device has it now".to_owned()], 1500));
    // An older picture, from before the MTU was set.
    port.follow_interface(&iface("eth0", 1500, true), &iface("wan", 9000, true), &mut host);
    assert_eq!(said(&mut port), Vec::<String>::new());
    // Somebody does set the larger one.
    host.mtu = 9000;
    port.follow_interface(&iface("eth0", 1500, true), &iface("wan", 9000, true), &mut host);
    assert_eq!((said(&mut port).len(), host.mtu), (1, 1500));
}

#[test]
fn a_host_interface_that_refuses_an_mtu_is_told_on_every_device() {
    let mut host = Host { refuses: true, mtu: 9000, carrier: None };
    let mut port = PortLink { host: (7, "wan".to_owned()), mtu: 1500, ..PortLink::default() };
    for _ in 0..2 {
        port.follow_host(&iface("wan", 9000, true), &mut host);
    }
    let told = said(&mut port);
    assert!(told.len() == 1 && told[0].starts_with("!wan cannot have the device's MTU"), "{told:?}");
    port.follow_host(&iface("wan", 1500, true), &mut host);
    assert_eq!(said(&mut port), ["the host interface has the device's MTU again"]);
}

#[test]
fn every_change_of_the_link_and_of_its_settings_is_told_once() {
    let (mut port, mut host) = (port(1500), Host { mtu: 1500, ..Host::default() });
    let mut see = |iface: Iface| {
        for _ in 0..2 {
            port.follow_interface(&iface, &self::iface("wan", host.mtu, true), &mut host);
        }
        said(&mut port).len()
    };
    assert_eq!(see(iface("eth0", 1500, true)), 0);
    assert_eq!(see(iface("eth0", 1500, false)), 1);
    assert_eq!(see(iface("eth0", 1500, true)), 1);
    assert_eq!(see(Iface { mac: Some(Mac([4; 6])), ..iface("eth0", 1500, true) }), 1);
    // The packets are too long for the buffers: the address is right again, the buffers are too
    // small, and the MTU is what fits.
    assert_eq!(see(iface("eth0", 9500, true)), 3);
    assert_eq!(see(iface("eth0", 1500, true)), 2);
}
