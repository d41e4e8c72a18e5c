//! Those that play against each other in one round.

use crate::rank::Rank;

/// The ranks of those that play against each other in one round of a tournament, by seat.
///
/// The seat is in the number that is compared, so the lowest number is that of the winner: of equal ones, the first.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(crate) struct Group([u64; WIDTH]);

impl Group {
    /// Has a seat taken by somebody of this rank. Seats are those of the round or of the group, as you like.
    #[inline]
    pub(crate) const fn seat(&mut self, seat: usize, rank: Rank) {
        let seat = seat % WIDTH;
        self.0[seat] = rank.as_u64() << BITS | seat as u64;
    }

    /// The first seat of the lowest rank, and that rank.
    #[inline]
    pub(crate) fn first(&self) -> (usize, Rank) {
        let lowest = self.0.iter().copied().fold(u64::MAX, u64::min);
        (lowest as usize % WIDTH, Rank::from_u64(lowest >> BITS))
    }

    /// All seats of this rank, in order.
    pub(crate) fn of_rank(&self, rank: Rank) -> impl Iterator<Item = usize> {
        let numbers = self.0.iter().enumerate();
        numbers.filter(move |(_, number)| **number >> BITS == rank.as_u64()).map(|(seat, _)| seat)
    }

    /// Nobody has a seat.
    pub(crate) const EMPTY: Self = {
        let mut group = Self([0; WIDTH]);
        let mut seat = 0;
        while seat < WIDTH {
            group.seat(seat, Rank::LAST);
            seat += 1;
        }
        group
    };
}

/// How many play against each other.
pub(crate) const WIDTH: usize = 1 << BITS;
/// So many that a rank leaves room for the seat.
const BITS: u32 = 4;
