//! A tournament over list positions.

use alloc::vec;
use alloc::vec::Vec;
use core::mem;

use crate::group::Group;
use crate::group::NOBODY;
use crate::group::WIDTH;
use crate::measure::Score;
use crate::rank::Rank;

/// A tournament over list positions. The best score wins; among equals, the earlier position.
///
/// In the first round the positions play in groups of [`WIDTH`]. In the next round the winners of
/// those groups play, and so on until one is left, the champion.
///
/// A player is a number, and the highest number wins. The upper bits are the rank of the player's
/// score, as many bits of it as there is room for. The lower bits are the position. Both are
/// counted down, so that a better score and an earlier position make a higher number. While all
/// scores are plain, equal ranks mean equal scores, and the numbers alone decide. Otherwise the
/// scores decide between players of equal rank.
#[derive(Debug)]
pub(crate) struct Tree {
    /// By position; its length is the room of the tree.
    scores: Vec<Score>,
    /// The groups of the first round come first. The winner of the `n`-th group of a round has seat
    /// `n` in the next round. The champion has the first seat of the last group, which does not
    /// play.
    groups: Vec<Group>,
    /// The first group of the second round.
    second: usize,
    /// The champion's group.
    top: usize,
    /// How many positions play.
    len: usize,
    /// How many destinations have much to spare.
    spare: usize,
    /// Whether all scores are plain, counted since the last [`Tree::fill`].
    plain: bool,
    /// Plain scores are below this cost.
    cheap: u64,
    /// How many bits of a player are its position.
    bits: u32,
}

impl Tree {
    /// A tree with room for `room` positions, none of which plays.
    pub(crate) fn with_room(room: usize) -> Self {
        let bits = room.next_power_of_two().trailing_zeros().max(FREE);
        Self {
            scores: vec![Score::NEVER; room],
            groups: vec![Group::EMPTY; top(room) + 1],
            second: 0,
            top: 0,
            len: 0,
            spare: 0,
            plain: true,
            cheap: Rank::cost_told_apart(bits - FREE),
            bits,
        }
    }

    /// Replaces all scores.
    pub(crate) fn fill(&mut self, scores: impl ExactSizeIterator<Item = Score>) {
        self.len = scores.len().min(self.room());
        self.scores.iter_mut().zip(scores).for_each(|(slot, score)| *slot = score);
        self.play_all();
    }

    /// Replaces the score of one position, and plays the games again that may now end differently.
    pub(crate) fn set(&mut self, position: usize, score: Score) {
        let old = match self.scores.get_mut(position) {
            Some(slot) if position < self.len && *slot != score => mem::replace(slot, score),
            _ => return,
        };
        self.spare = self.spare + usize::from(score.spare()) - usize::from(old.spare());
        self.plain &= score.is_plain(self.cheap);
        let player = self.player(position, &score);
        if self.plain { self.replay(position, player) } else { self.replay_by_score(position, player) }
    }

    /// The position of the champion, if any position is eligible.
    pub(crate) fn winner(&self) -> Option<usize> {
        let champion = self.seated(self.top, 0);
        self.is_eligible(champion).then(|| self.position(champion))
    }

    /// Whether any destination has much to spare.
    pub(crate) const fn any_spare(&self) -> bool {
        self.spare > 0
    }

    /// How many positions there is room for.
    pub(crate) const fn room(&self) -> usize {
        self.scores.len()
    }

    /// Seats a new player, and every player who now wins a group, round by round.
    ///
    /// It does not read what it has just written, and no group's game waits for the game before it.
    #[inline]
    fn replay(&mut self, mut seat: usize, mut player: i64) {
        let (mut first, mut next) = (0, self.second);
        while first < self.top {
            let (group, number) = (first + seat / WIDTH, seat / WIDTH);
            let won = self.seated(next, number);
            let Some(group) = self.groups.get_mut(group) else { return };
            let before = group.seated(seat);
            let best = if before == won { group.second_to(won) } else { won };
            group.seat(seat, player);
            player = player.max(best);
            if player == won {
                return;
            }
            (first, next, seat) = (next, next + (next - first).div_ceil(WIDTH), number);
        }
        self.seat(first, seat, player);
    }

    /// The same as `replay`, where scores of equal rank may differ.
    #[inline(never)]
    fn replay_by_score(&mut self, position: usize, mut player: i64) {
        let (mut first, mut next, mut seat) = (0, self.second, position);
        while first < self.top {
            let (group, number) = (first + seat / WIDTH, seat / WIDTH);
            let (before, won) = (self.seated(first, seat), self.seated(next, number));
            self.seat(first, seat, player);
            if before == won || self.rank(player) == self.rank(won) {
                player = self.play(group);
            } else if player < won {
                return;
            }
            // The winner is the same and its score has not changed: nothing else changes.
            if player == won && self.position(player) != position {
                return;
            }
            (first, next, seat) = (next, next + (next - first).div_ceil(WIDTH), number);
        }
        self.seat(first, seat, player);
    }

    fn play_all(&mut self) {
        (self.second, self.top) = (self.len.div_ceil(WIDTH), top(self.len));
        self.groups.iter_mut().take(self.top + 1).for_each(|group| *group = Group::EMPTY);
        (self.spare, self.plain) = (0, true);
        for position in 0..self.len {
            let score = self.score(position);
            self.spare += usize::from(score.spare());
            self.plain &= score.is_plain(self.cheap);
            self.seat(0, position, self.player(position, &score));
        }
        let (mut first, mut next) = (0, self.second);
        while first < self.top {
            for group in first..next {
                let winner = self.play(group);
                self.seat(next, group - first, winner);
            }
            (first, next) = (next, next + (next - first).div_ceil(WIDTH));
        }
    }

    /// The winner of a group.
    fn play(&self, group: usize) -> i64 {
        let Some(group) = self.groups.get(group) else { return NOBODY };
        let highest = group.highest();
        let rank = self.rank(highest);
        if self.plain || !self.is_eligible(highest) || self.rank(group.second_to(highest)) < rank {
            return highest;
        }
        let (mut winner, mut best) = (highest, self.score(self.position(highest)));
        // Seats are in order of position.
        for rival in group.iter().filter(|rival| self.rank(*rival) == rank) {
            let score = self.score(self.position(rival));
            if score.beats(&best) {
                (winner, best) = (rival, score);
            }
        }
        winner
    }

    /// Gives a seat to another player, in the round that begins with group `first`.
    #[inline]
    fn seat(&mut self, first: usize, seat: usize, player: i64) {
        if let Some(group) = self.groups.get_mut(first + seat / WIDTH) {
            group.seat(seat, player);
        }
    }

    #[inline]
    fn seated(&self, first: usize, seat: usize) -> i64 {
        self.groups.get(first + seat / WIDTH).map_or(NOBODY, |group| group.seated(seat))
    }

    #[inline]
    fn player(&self, position: usize, score: &Score) -> i64 {
        let rank = Rank::LAST.as_i64() - score.rank().as_i64();
        (rank >> (self.bits - FREE) << self.bits) | (position as i64 ^ self.positions())
    }

    /// The part of a player that is its rank; 0 for a position that is not eligible.
    #[inline]
    const fn rank(&self, player: i64) -> i64 {
        player >> self.bits
    }

    #[inline]
    const fn position(&self, player: i64) -> usize {
        (player & self.positions() ^ self.positions()) as usize
    }

    #[inline]
    const fn is_eligible(&self, player: i64) -> bool {
        self.rank(player) > 0
    }

    /// The bits of a player that are its position.
    #[inline]
    const fn positions(&self) -> i64 {
        (1 << self.bits) - 1
    }

    fn score(&self, position: usize) -> Score {
        self.scores.get(position).copied().unwrap_or(Score::NEVER)
    }
}

/// The group in which the champion sits when `len` positions play.
fn top(len: usize) -> usize {
    let (mut first, mut groups) = (0, len.div_ceil(WIDTH));
    while groups > 1 {
        (first, groups) = (first + groups, groups.div_ceil(WIDTH));
    }
    first + groups
}

/// How many bits above a rank are free in a positive `i64`.
const FREE: u32 = Rank::LAST.as_i64().leading_zeros() - 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn score(cost: u64) -> Score {
        if cost == 0 { Score::NEVER } else { Score::new(cost, 1) }
    }

    #[test]
    fn the_first_of_the_best_wins() {
        let mut tree = Tree::with_room(20);
        assert_eq!(tree.room(), 20);
        tree.fill([0, 7, 3, 9, 3].map(score).into_iter());
        assert_eq!(tree.winner(), Some(2));
        tree.set(2, score(0));
        assert_eq!(tree.winner(), Some(4));
        tree.set(0, score(3));
        assert_eq!(tree.winner(), Some(0));
        tree.set(0, score(8));
        tree.set(4, score(8));
        assert_eq!(tree.winner(), Some(1));
    }

    #[test]
    fn nobody_wins_among_none() {
        let mut tree = Tree::with_room(0);
        assert_eq!(tree.winner(), None);
        tree.fill([].into_iter());
        assert_eq!(tree.winner(), None);
        let mut tree = Tree::with_room(4);
        tree.fill([0, 0, 0].map(score).into_iter());
        assert_eq!(tree.winner(), None);
        tree.set(3, score(1));
        assert_eq!(tree.winner(), None, "it does not play");
        tree.set(2, score(1));
        assert_eq!(tree.winner(), Some(2));
        tree.fill([5].map(score).into_iter());
        assert_eq!(tree.winner(), Some(0));
        tree.set(3, score(1));
        assert_eq!(tree.winner(), Some(0));
    }
}
