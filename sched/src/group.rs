//! The players of one game in a tournament.

/// The players of one game in a tournament, by seat. Players are numbers; the highest wins.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(crate) struct Group([i64; WIDTH]);

impl Group {
    /// Gives a seat to another player.
    #[inline]
    pub(crate) const fn seat(&mut self, seat: usize, player: i64) {
        self.0[seat % WIDTH] = player;
    }

    /// The player in a seat.
    #[inline]
    pub(crate) const fn seated(&self, seat: usize) -> i64 {
        self.0[seat % WIDTH]
    }

    /// The highest player except `winner`, which must be the highest of all; [`NOBODY`] if `winner`
    /// is alone.
    ///
    /// It compares in lanes, so that no comparison waits for all those before it. `wrapping_sub`
    /// turns the winner into `i64::MIN`, the lowest number, and keeps the order of the others. That
    /// is cheaper than leaving the winner out.
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

    /// The highest player.
    #[inline]
    pub(crate) fn highest(&self) -> i64 {
        self.0.iter().copied().fold(NOBODY, i64::max)
    }

    /// All players, by seat.
    pub(crate) fn iter(&self) -> impl Iterator<Item = i64> {
        self.0.iter().copied()
    }

    /// All seats are free.
    pub(crate) const EMPTY: Self = Self([NOBODY; WIDTH]);
}

/// How many seats a game has.
pub(crate) const WIDTH: usize = 16;
/// The player of a free seat: lower than all others.
pub(crate) const NOBODY: i64 = 0;
const LANES: usize = 4;
