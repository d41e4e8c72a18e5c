//! Where frames wait for their next hop. Time is a parameter, and frames that leave are handed
//! back, so nothing here touches the outside.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::counters::PumpDrop;

/// Frames that may wait for one next hop.
pub(super) const PER_NEXT_HOP: usize = 16;
/// Frames that may wait in all.
pub(super) const IN_ALL: usize = 1024;
/// How many of these may wait for next hops that nobody keeps alive. So senders that are made up
/// cannot take all the room.
pub(super) const STRANGERS: usize = IN_ALL / 2;
/// How long a frame waits, which is as long as the kernel asks.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

/// A next hop on a port.
pub(super) type Hop = (usize, IpAddr);

/// A frame that waits, and the worker it belongs to.
#[derive(Debug)]
pub(super) struct Parked<F> {
    pub(super) worker: usize,
    pub(super) frame: F,
    since: Instant,
}

#[derive(Debug)]
struct Queue<F> {
    frames: VecDeque<Parked<F>>,
    /// The kernel had given the next hop up before the first frame came. That it says so again is
    /// no news.
    given_up: bool,
    /// Nobody keeps this next hop alive.
    stranger: bool,
}

/// The frames that wait.
#[derive(Debug)]
pub(super) struct Park<F> {
    queues: HashMap<Hop, Queue<F>>,
    count: usize,
    /// How many frames of `count` wait for strangers.
    strangers: usize,
    /// No frame is due before this.
    due: Option<Instant>,
}

impl<F> Park<F> {
    pub(super) fn new() -> Self {
        Self { queues: HashMap::new(), count: 0, strangers: 0, due: None }
    }

    /// Takes a frame in. Hands back the frame that must leave for it, which may be the frame
    /// itself. The pair says two things of the next hop: whether the kernel has it as failed
    /// already, and whether it is a stranger.
    pub(super) fn park(
        &mut self,
        hop: Hop,
        worker: usize,
        frame: F,
        (given_up, stranger): (bool, bool),
        now: Instant,
    ) -> Option<(PumpDrop, Parked<F>)> {
        let parked = Parked { worker, frame, since: now };
        let here = self.queues.get(&hop).map_or(0, |queue| queue.frames.len());
        let full = self.count >= IN_ALL || stranger && self.strangers >= STRANGERS;
        if full && here < PER_NEXT_HOP {
            return Some((PumpDrop::ParkFull, parked));
        }
        let queue =
            self.queues.entry(hop).or_insert_with(|| Queue { frames: VecDeque::new(), given_up, stranger });
        let oldest = if here >= PER_NEXT_HOP { queue.frames.pop_front() } else { None };
        queue.frames.push_back(parked);
        self.count += usize::from(oldest.is_none());
        self.strangers += usize::from(oldest.is_none() && queue.stranger);
        self.due.get_or_insert(now + PATIENCE);
        oldest.map(|oldest| (PumpDrop::NextHopFull, oldest))
    }

    /// Takes all frames out that wait for one next hop.
    pub(super) fn take(&mut self, hop: Hop) -> VecDeque<Parked<F>> {
        let Some(queue) = self.queues.remove(&hop) else { return VecDeque::new() };
        self.count -= queue.frames.len();
        self.strangers -= if queue.stranger { queue.frames.len() } else { 0 };
        queue.frames
    }

    /// Takes the frames out that have waited too long.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Parked<F>> {
        let mut late = Vec::new();
        if self.due.is_none_or(|due| now < due) {
            return late;
        }
        self.queues.retain(|_, queue| {
            while let Some(first) = queue.frames.pop_front() {
                if first.since + PATIENCE > now {
                    queue.frames.push_front(first);
                    break;
                }
                self.strangers -= usize::from(queue.stranger);
                late.push(first);
            }
            !queue.frames.is_empty()
        });
        self.count -= late.len();
        self.due =
            self.queues.values().filter_map(|queue| queue.frames.front()).map(|f| f.since + PATIENCE).min();
        late
    }

    /// Takes everything out.
    pub(super) fn empty(&mut self) -> Vec<Parked<F>> {
        (self.count, self.strangers) = (0, 0);
        self.due = None;
        self.queues.drain().flat_map(|(_, queue)| queue.frames).collect()
    }

    /// The next hops for which frames wait, and whether the kernel had given each up before.
    pub(super) fn hops(&self) -> impl Iterator<Item = (Hop, bool)> {
        self.queues.iter().map(|(hop, queue)| (*hop, queue.given_up))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: (bool, bool) = (false, false);
    const STRANGER: (bool, bool) = (false, true);

    fn hop(last: u8) -> Hop {
        (0, IpAddr::from([10, 0, last, 1]))
    }

    #[test]
    fn the_oldest_frame_leaves_a_full_queue() {
        let (mut park, now) = (Park::new(), Instant::now());
        for n in 0..PER_NEXT_HOP {
            assert!(park.park(hop(1), 0, n, KNOWN, now).is_none());
        }
        let (why, gone) = park.park(hop(1), 0, 99, KNOWN, now).unwrap();
        assert_eq!((why, gone.frame), (PumpDrop::NextHopFull, 0));
        let frames: Vec<_> = park.take(hop(1)).into_iter().map(|f| f.frame).collect();
        assert_eq!((frames.len(), frames[0], frames[PER_NEXT_HOP - 1]), (PER_NEXT_HOP, 1, 99));
        assert!(park.is_empty());
        assert_eq!(park.count, 0);
    }

    #[test]
    fn a_full_park_takes_no_more_but_lets_a_full_queue_turn_over() {
        let (mut park, now) = (Park::new(), Instant::now());
        for n in 0..IN_ALL {
            assert!(park.park(hop((n / PER_NEXT_HOP) as u8), n, n, KNOWN, now).is_none());
        }
        let (why, back) = park.park(hop(200), 7, 12345, KNOWN, now).unwrap();
        assert_eq!((why, back.frame, back.worker), (PumpDrop::ParkFull, 12345, 7));
        assert_eq!(park.park(hop(0), 0, 1, KNOWN, now).unwrap().0, PumpDrop::NextHopFull);
        assert_eq!(park.hops().count(), IN_ALL / PER_NEXT_HOP);
        assert_eq!(park.empty().len(), IN_ALL);
    }

    #[test]
    fn frames_leave_when_their_own_time_is_up() {
        let (mut park, now) = (Park::new(), Instant::now());
        let later = |ms| now + Duration::from_millis(ms);
        park.park(hop(1), 0, 1, KNOWN, now);
        park.park(hop(1), 0, 2, KNOWN, later(1000));
        park.park(hop(2), 0, 3, KNOWN, later(500));
        assert!(park.expire(later(2999)).is_empty());
        assert_eq!(park.expire(later(3000)).into_iter().map(|f| f.frame).collect::<Vec<_>>(), [1]);
        assert_eq!(park.expire(later(3600)).into_iter().map(|f| f.frame).collect::<Vec<_>>(), [3]);
        assert_eq!(park.count, 1);
        assert_eq!(park.expire(later(4000)).len(), 1);
        assert!(park.is_empty() && park.due.is_none());
    }

    #[test]
    fn strangers_leave_room_for_the_next_hops_of_destinations() {
        let (mut park, now) = (Park::new(), Instant::now());
        let stranger = |n: usize| (0, IpAddr::from([10, 9, (n >> 8) as u8, n as u8]));
        for n in 0..STRANGERS {
            assert!(park.park(stranger(n), 0, n, STRANGER, now).is_none());
        }
        assert_eq!(park.park(stranger(STRANGERS), 0, 0, STRANGER, now).unwrap().0, PumpDrop::ParkFull);
        assert!(park.park(hop(1), 0, 0, KNOWN, now).is_none());
        assert_eq!(park.take(stranger(0)).len(), 1);
        assert!(park.park(stranger(STRANGERS), 0, 0, STRANGER, now).is_none());
        assert_eq!(park.expire(now + PATIENCE).len(), STRANGERS + 1);
        assert_eq!((park.count, park.strangers), (0, 0));
    }
}
