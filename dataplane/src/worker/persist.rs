//! Persistence: clients keep their real server.
//!
//! A template remembers the choice for (client and mask, VIP, port). Connections hang on it and
//! keep it alive. Must agree with `net/netfilter/ipvs/ip_vs_core.c: ip_vs_sched_persist`.

use core::net::Ipv4Addr;

use sched::DestId;

use crate::conn::entry::ConnId;
use crate::conn::entry::NONE;
use crate::conn::key::FlowKey;
use crate::conn::key::KeyKind;
use crate::snapshot::Snapshot;
use crate::snapshot::dest::DestInfo;
use crate::snapshot::service::Persistence;
use crate::snapshot::service::Selector;
use crate::verdict::DropReason;
use crate::worker::flows::Flows;
use crate::worker::wanted::Intent;
use crate::worker::wanted::Wanted;

const FTP: u16 = 21;
/// An invalidated template gets a key with this port. No packet looks up such a key.
const INVALID: u16 = 65_535;
/// How many invalidated templates one client and VIP may have at a time.
const MANY: u16 = 256;

impl Flows {
    /// Makes a connection of a persistent service.
    pub(crate) fn schedule_persistent(
        &mut self,
        snapshot: &Snapshot,
        wanted: Wanted<'_>,
        persistence: Persistence,
    ) -> Result<ConnId, DropReason> {
        let (template, dest) = self.template(snapshot, wanted, persistence)?;
        let info = snapshot.dest(dest).ok_or(DropReason::NoDestination)?;
        let dport = wanted.sticky_port(info);
        let made = self.create(snapshot, &wanted.intent(dest, info, dport, template.as_u32()));
        self.use_template(template);
        made
    }

    /// Chooses the destination of a datagram of a persistent one-packet service.
    pub(crate) fn stick<'s>(
        &mut self,
        snapshot: &'s Snapshot,
        wanted: Wanted<'_>,
        persistence: Persistence,
    ) -> Result<(DestId, &'s DestInfo), DropReason> {
        let (template, dest) = self.template(snapshot, wanted, persistence)?;
        self.use_template(template);
        Ok((dest, snapshot.dest(dest).ok_or(DropReason::NoDestination)?))
    }

    /// The template of a packet, and its destination. Makes the template if there is none.
    fn template(
        &mut self,
        snapshot: &Snapshot,
        wanted: Wanted<'_>,
        persistence: Persistence,
    ) -> Result<(ConnId, DestId), DropReason> {
        let Wanted { service, key, mark, .. } = wanted;
        let exact = key.dport() == service.key.port() && service.key.port() != FTP;
        let network = Ipv4Addr::from_bits(key.src().to_bits() & persistence.netmask.to_bits());
        let template_key = match service.key {
            Selector::Address { .. } => {
                let vport = if exact { key.dport() } else { 0 };
                FlowKey::new(key.protocol(), network, 0, key.dst(), vport)
            }
            // All packets with the mark share the template. The mark takes the place of the VIP.
            Selector::Mark(mark) => FlowKey::new(0, network, 0, Ipv4Addr::from_bits(mark), 0),
        }
        .with_kind(KeyKind::Template);
        let template = match self.usable_template(snapshot, template_key) {
            Some(id) => id,
            None => {
                let (dest, info) = self.choose(snapshot, service, key)?;
                let dport = if exact { info.port } else { 0 };
                let client = NONE;
                let intent =
                    Intent { service, key: template_key, mark, client, dest, info, dport, control: NONE };
                let id = self.create(snapshot, &intent)?;
                self.table.cold_mut(id).timeout = persistence.ticks();
                id
            }
        };
        Ok((template, DestId::new(self.table.hot(template).dest)))
    }

    /// Starts the timer of a template again.
    fn use_template(&mut self, id: ConnId) {
        self.table.hot_mut(id).expires = self.now.plus(self.table.cold(id).timeout);
        self.wind(id);
    }

    /// The template with this key, if it may still be used. If it may not, gives it another key
    /// (`ip_vs_conn.c: ip_vs_check_template`).
    fn usable_template(&mut self, snapshot: &Snapshot, key: FlowKey) -> Option<ConnId> {
        let (id, _) = self.table.find(key)?;
        let info = snapshot.dest(DestId::new(self.table.hot(id).dest));
        let quiescent = snapshot.tunables.expire_quiescent_template;
        if info.is_some_and(|info| info.available && !(quiescent && info.weight == 0)) {
            return Some(id);
        }
        let invalid =
            FlowKey::new(key.protocol(), key.src(), 0, key.dst(), INVALID).with_kind(KeyKind::Template);
        // Earlier invalidated templates of the same client may still exist, because connections
        // hang on them.
        if (1..=MANY).any(|serial| self.table.rekey_request(id, invalid.with_serial(serial)).is_ok()) {
            self.table.cold_mut(id).dport = INVALID;
        }
        None
    }
}
