//! For how long no connection has named each deleted destination.
//!
//! Linux frees a deleted destination once it has been idle for two minutes, and looks every minute
//! (`net/netfilter/ipvs/ip_vs_ctl.c: ip_vs_dest_trash_expire`). Until then the destination is
//! revived when it is added again. The caches of `lblc` and `lblcr` remember destinations too, for
//! a day. So the deleted destinations of such services are kept for a day here, as far as there is
//! room.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use sched::DestId;

use crate::statistics::Collector;
use model::Model;

const IDLE: Duration = Duration::from_secs(120);
/// How long the caches of these schedulers remember a destination (`lblc_expiration`,
/// `lblcr_expiration`).
const CACHED: Duration = Duration::from_secs(86_400);

/// Since when each deleted destination has been idle.
#[derive(Debug, Default)]
pub struct TrashWatch {
    idle_since: HashMap<DestId, Instant>,
}

impl TrashWatch {
    /// Looks at the destinations in the trash. Returns those that may be freed.
    pub fn look(&mut self, model: &Model, collector: &Collector, now: Instant) -> Vec<DestId> {
        let mut still = HashMap::new();
        let mut over = Vec::new();
        let slots = model.destination_count() + model.trash().count();
        let roomy = slots <= model.options().limits.destinations as usize / 2;
        for dest in model.trash().filter(|dest| collector.is_idle(*dest)) {
            let since = self.idle_since.get(&dest).copied().unwrap_or(now);
            let patience = if roomy && is_cached(model, dest) { CACHED } else { IDLE };
            if now.duration_since(since) >= patience {
                over.push(dest);
            } else {
                still.insert(dest, since);
            }
        }
        self.idle_since = still;
        over
    }
}

/// Whether a cache of the destination's service, if the service is still there, may remember the
/// deleted destination.
fn is_cached(model: &Model, dest: DestId) -> bool {
    let service = model.destination(dest).and_then(|dest| model.service(dest.service));
    service.is_some_and(|service| matches!(&*service.spec.scheduler, "lblc" | "lblcr"))
}
