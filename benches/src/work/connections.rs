//! Whole connections: their end, and their life from the first packet to the end.

use dataplane::BURST;
use dataplane::snapshot::dest::Method;
use dataplane::time::Ticks;
use dataplane::wire::l4;
use dataplane::wire::l4::flag;

use super::BURSTS;
use super::PACKETS;
use super::Work;
use super::measured;
use super::packets::LIFE;
use super::packets::Step;
use super::packets::lay;
use crate::rig::Rig;

/// Longer than a half-open connection lives, and shorter than the horizon of the timer wheel.
const MINUTE: u32 = 61 * Ticks::PER_SECOND;
/// After this many bursts of connections, one each second, as many end as begin.
const WARM_UP: u32 = 250;

/// Work by name.
pub(super) fn all() -> Vec<Work> {
    use Method::{DirectRoute, FullNat, Masquerade};
    let expire = |name, method| Work::new(name, "connection", move || expire(method));
    let whole = |name, method| Work::new(name, "connection", move || whole(method));
    vec![
        expire("expire-dr", DirectRoute),
        expire("expire-nat", Masquerade),
        expire("expire-fullnat", FullNat),
        Work::new("renew", "connection", renew),
        whole("whole-nat", Masquerade),
        whole("whole-fullnat", FullNat),
    ]
}

/// A director whose connections all began at the same time.
fn begun(method: Method, flags: &[u8]) -> Option<Rig> {
    let mut rig = Rig::new(PACKETS)?;
    for burst in 0..BURSTS {
        for flags in flags {
            lay(&mut rig, Step::Ask(*flags), burst, method, l4::TCP);
            rig.poll();
        }
    }
    (rig.forwarded_all_but(0) && rig.stats().connections.get() == PACKETS).then_some(rig)
}

/// Connections that time out half open.
fn expire(method: Method) -> Option<u32> {
    let mut rig = begun(method, &[flag::SYN])?;
    rig.wait(MINUTE);
    measured(|| rig.settle());
    (rig.stats().expired.get() == u64::from(PACKETS)).then_some(PACKETS)
}

/// Connections whose timers come due and are renewed, because packets came in the meantime.
fn renew() -> Option<u32> {
    let mut rig = begun(Method::Masquerade, &[flag::SYN, flag::ACK])?;
    rig.wait(MINUTE);
    measured(|| rig.settle());
    (rig.stats().expired.get() == 0).then_some(PACKETS)
}

/// Connections of eight packets, and the end of as many that began two minutes before.
fn whole(method: Method) -> Option<u32> {
    let mut rig = Rig::new(WARM_UP * BURST as u32)?;
    let mut expired = 0;
    for burst in 0..WARM_UP + BURSTS {
        let counts = burst >= WARM_UP;
        if burst == WARM_UP {
            expired = rig.stats().expired.get();
        }
        for step in LIFE {
            lay(&mut rig, step, burst, method, l4::TCP);
            if counts {
                measured(rig.poller())
            } else {
                rig.poll()
            };
        }
        rig.wait(Ticks::PER_SECOND);
        if counts {
            measured(|| rig.settle())
        } else {
            rig.settle()
        };
    }
    let ended = rig.stats().expired.get() - expired;
    (rig.forwarded_all_but(0) && ended == u64::from(PACKETS)).then_some(PACKETS)
}
