//! A scheduler's choice among many destinations, with its bookkeeping.

use core::hint::black_box;

use sched::Kind;

use super::Work;
use super::measured;
use crate::farm::Farm;
use crate::farm::OPEN;

const DESTS: u32 = 1000;
/// Counted choices, and choices before them. After the latter, as many connections end as begin.
const CHOICES: usize = OPEN;
const WARM_UP: usize = 2 * OPEN;

/// The work of all schedulers, by name.
pub(super) fn all() -> Vec<Work> {
    let kinds = Kind::ALL.into_iter().filter(|kind| *kind != Kind::None);
    kinds.map(|kind| Work::new(format!("choose-{}", kind.name()), "choice", move || choose(kind))).collect()
}

fn choose(kind: Kind) -> Option<u32> {
    let mut farm = Farm::new(kind, DESTS)?;
    let warmed = (0..WARM_UP).filter(|_| farm.choose().is_some()).count();
    let chosen = measured(|| (0..CHOICES).filter(|_| black_box(farm.choose()).is_some()).count());
    (warmed == WARM_UP && chosen == CHOICES).then_some(CHOICES as u32)
}
