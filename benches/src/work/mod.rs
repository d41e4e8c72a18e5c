//! The kinds of work whose instructions are counted. Each is done alone, in a process of its own.

mod choice;
mod connections;
mod packets;
mod polls;
mod stages;

use core::hint::black_box;

use dataplane::BURST;

/// Bursts of each kind of work.
const BURSTS: u32 = 100;
const PACKETS: u32 = BURSTS * BURST as u32;

/// Does the work and returns the number of items; `None` if its result is wrong.
type Run = Box<dyn Fn() -> Option<u32>>;

/// A kind of work.
pub struct Work {
    /// Its name, as in `instructions.txt`.
    pub name: String,
    /// The name of one item.
    pub item: &'static str,
    /// Does the work.
    pub run: Run,
}

impl Work {
    fn new(name: impl Into<String>, item: &'static str, run: impl Fn() -> Option<u32> + 'static) -> Self {
        Self { name: name.into(), item, run: Box::new(run) }
    }
}

/// All kinds of work, in the order in which they are recorded.
pub fn all() -> Vec<Work> {
    let mut all = stages::all();
    all.extend(packets::all());
    all.extend(connections::all());
    all.extend(polls::all());
    all.extend(choice::all());
    all
}

/// Callgrind counts only the instructions inside this function:
/// `--toggle-collect='benches::work::measured*'`.
#[inline(never)]
fn measured<R>(work: impl FnOnce() -> R) -> R {
    black_box(black_box(work)())
}
