//! Those that play against each other in one round of a tournament.

/// Those that play against each other in one round of a tournament, by seat: numbers, of which the
/// highest wins.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(crate) struct Group([i64; WIDTH]);

impl Group {
    /// Has a seat taken by somebody else.
    #[inline]
    pub(crate) const fn seat(&mut self, seat: usize, player: i64) {
        self.0[seat % WIDTH] = player;
    }

    /// Who has a seat.
    #[inline]
    pub(crate) const fn seated(&self, seat: usize) -> i64 {
        self.0[seat % WIDTH]
    }

    /// The highest but for the winner, who is the highest of all, or [`NOBODY`].
    ///
    /// In lanes, so that no comparison waits for all those before it. Seen from above the winner,
    /// all others are far below and he, by going round, farther than any: that is cheaper than
    /// leaving him out.
    #[inline]
    pub(crate) fn second_to(&self, winner: i64) -> i64 {
        let above = winner.wrapping_add(i64::MIN);
        let mut lanes = [i64::MIN; LANES];
        for players in self.0.chunks_exact(LANES) {
            for (lane, player) in lanes.iter_mut().zip(players) {
                *lane = (*lane).max(player.wrapping_sub(above));
            }
        }
        let [a, b, c, d] = lanes;
        a.max(b).max(c.max(d)).wrapping_add(above)
    }

    /// The highest.
    #[inline]
    pub(crate) fn highest(&self) -> i64 {
        self.0.iter().copied().fold(NOBODY, i64::max)
    }

    /// All that play, by seat.
    pub(crate) fn iter(&self) -> impl Iterator<Item = i64> {
        self.0.iter().copied()
    }

    /// All seats are free.
    pub(crate) const EMPTY: Self = Self([NOBODY; WIDTH]);
}

/// How many play against each other.
pub(crate) const WIDTH: usize = 16;
/// Who has a seat that is free: lower than all.
pub(crate) const NOBODY: i64 = 0;
const LANES: usize = 4;
