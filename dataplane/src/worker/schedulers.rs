//! A worker's use of schedulers: it asks them for a choice and tells them about changed loads.

use core::net::IpAddr;

use sched::DestId;
use sched::Kind;

use crate::conn::key::FlowKey;
use crate::snapshot::Snapshot;
use crate::snapshot::dest::DestInfo;
use crate::snapshot::service::Service;
use crate::verdict::DropReason;
use crate::worker::flows::Flows;

/// The schedulers are tended once in this many ticks.
const TEND_TICKS: i32 = 10;

impl Flows {
    /// Asks the service's scheduler for a destination.
    pub(crate) fn choose<'s>(
        &mut self,
        snapshot: &'s Snapshot,
        service: &Service,
        key: FlowKey,
    ) -> Result<(DestId, &'s DestInfo), DropReason> {
        let wanted = sched::Key {
            client: IpAddr::V4(key.src()),
            client_port: key.sport(),
            target: IpAddr::V4(key.dst()),
            protocol: key.protocol(),
        };
        let mut ctx =
            sched::Ctx { now: self.now.millis(), random: &mut self.random, tuning: sched::Tuning::default() };
        let state = service.cells.states.get_mut(&mut self.token);
        let dest =
            state.pick(&service.plan, &*self.stats, &wanted, &mut ctx).ok_or(DropReason::NoDestination)?;
        let info = snapshot.dest(dest).ok_or(DropReason::NoDestination)?;
        Ok((dest, info))
    }

    /// Tends the schedulers ten times a second. They forget old cache entries, a limited number
    /// each time. After an estimator tick they also read the measured values again. Returns whether
    /// it was time.
    pub(crate) fn tend_schedulers(&mut self, snapshot: &Snapshot) -> bool {
        if self.now.since(self.tended) < TEND_TICKS {
            return false;
        }
        self.tended = self.now;
        let rate_ticks = self.stats.rate_ticks();
        let measured = rate_ticks != self.rate_ticks;
        self.rate_ticks = rate_ticks;
        for service in snapshot.services.tended() {
            let ctx = sched::Ctx {
                now: self.now.millis(),
                random: &mut self.random,
                tuning: sched::Tuning::default(),
            };
            let state = service.cells.states.get_mut(&mut self.token);
            state.tick(&ctx);
            if measured && matches!(service.plan.kind(), Kind::Lt | Kind::Wlt | Kind::Wrt) {
                state.loads_changed();
            }
        }
        true
    }

    /// Tells the service's scheduler that a destination's load has changed.
    pub(crate) fn load_changed(&mut self, snapshot: &Snapshot, dest: DestId) {
        let Some(info) = snapshot.dest(dest).filter(|info| info.weighed && info.available) else { return };
        let Some(service) = snapshot.services.by_id(info.service) else { return };
        let state = service.cells.states.get_mut(&mut self.token);
        state.load_changed(&service.plan, dest, &*self.stats);
    }

    /// Tells the service's scheduler that the loads of all its destinations may have changed.
    pub(super) fn loads_changed(&mut self, snapshot: &Snapshot, dest: DestId) {
        let Some(info) = snapshot.dest(dest).filter(|info| info.available) else { return };
        let Some(service) = snapshot.services.by_id(info.service) else { return };
        service.cells.states.get_mut(&mut self.token).loads_changed();
    }
}
