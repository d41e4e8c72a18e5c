//! A tournament over list positions.

use alloc::vec;
use alloc::vec::Vec;
use core::iter;

use crate::group::Group;
use crate::group::WIDTH;
use crate::measure::Score;
use crate::rank::Rank;

/// A tournament over list positions: the best score wins, the earlier position among equals.
///
/// In the first round the positions play in groups of [`WIDTH`], in the next the winners of those groups, and so on until
/// there is one group. Groups are numbered through, those of the first round first; whoever wins the `n`-th of its round
/// has seat `n` in the next. They play by rank, and by score only where equal ranks leave it open.
#[derive(Debug)]
pub(crate) struct Tree {
    /// By position; as long as there is room.
    scores: Vec<Score>,
    groups: Vec<Group>,
    /// By group.
    winners: Vec<Player>,
    /// How many positions play.
    len: usize,
    /// The group of the last round.
    last: usize,
    /// Whether scores of equal rank are equal; all scores that came since they were last replaced are plain.
    plain: bool,
    /// How many of the scores are of destinations with much to spare.
    spare: usize,
}

/// A position that plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Player {
    rank: Rank,
    position: u32,
}

impl Tree {
    /// A tree with room for so many positions, none of which plays.
    pub(crate) fn with_room(room: usize) -> Self {
        let groups = rounds(room).map(|(_, groups)| groups).sum();
        Self {
            scores: vec![Score::NEVER; room],
            groups: vec![Group::EMPTY; groups],
            winners: vec![Player::NOBODY; groups],
            len: 0,
            last: 0,
            plain: true,
            spare: 0,
        }
    }

    /// Replaces all scores.
    pub(crate) fn fill(&mut self, scores: impl ExactSizeIterator<Item = Score>) {
        self.len = scores.len().min(self.room());
        (self.last, self.plain, self.spare) = (0, true, 0);
        for (slot, score) in self.scores.iter_mut().take(self.len).zip(scores) {
            *slot = score;
            self.plain &= score.is_plain();
            self.spare += usize::from(score.spare());
        }
        let (mut before, mut players) = (None::<usize>, self.len);
        for (first, groups) in rounds(self.len) {
            for number in 0..groups {
                let mut group = Group::EMPTY;
                for seat in number * WIDTH..players.min((number + 1) * WIDTH) {
                    let rank = match before {
                        None => self.score(seat as u32).rank(),
                        Some(before) => self.winners.get(before + seat).map_or(Rank::LAST, |won| won.rank),
                    };
                    group.seat(seat, rank);
                }
                let winner = self.play(&group, number, before);
                let at = first + number;
                if let (Some(old), Some(won)) = (self.groups.get_mut(at), self.winners.get_mut(at)) {
                    (*old, *won) = (group, winner);
                }
            }
            (before, players, self.last) = (Some(first), groups, first);
        }
    }

    /// Replaces the score of one position, and plays again what may end otherwise.
    pub(crate) fn set(&mut self, position: usize, score: Score) {
        match self.scores.get_mut(position) {
            Some(slot) if position < self.len && *slot != score => {
                self.spare -= usize::from(slot.spare());
                self.spare += usize::from(score.spare());
                *slot = score;
            }
            _ => return,
        }
        self.plain &= score.is_plain();
        let mut player = Player { rank: score.rank(), position: position as u32 };
        // Positions by seat: two to the power of so much.
        let (mut before, mut seat, mut depth) = (None, position, 0);
        for (first, _) in rounds(self.len) {
            let number = seat / WIDTH;
            let at = first + number;
            let Some((group, &won)) = self.groups.get_mut(at).zip(self.winners.get(at)) else { return };
            group.seat(seat, player.rank);
            if player.rank >= won.rank {
                // The winner may have lost by this, or ranks may not tell.
                if won.position as usize >> depth == seat || (player.rank == won.rank && !self.plain) {
                    let Some(group) = self.groups.get(at) else { return };
                    player = self.play(group, number, before);
                } else if player.rank > won.rank || player.position > won.position {
                    return;
                }
                // Where neither the winner is another nor its score has changed, nothing further changes.
                if player == won && player.position as usize != position {
                    return;
                }
            }
            if let Some(slot) = self.winners.get_mut(at) {
                *slot = player;
            }
            (before, seat, depth) = (Some(first), number, depth + WIDTH.trailing_zeros());
        }
    }

    /// The position that won, if any is eligible.
    pub(crate) fn winner(&self) -> Option<usize> {
        let winner = self.winners.get(self.last).filter(|_| self.len > 0)?;
        (winner.rank < Rank::LAST).then_some(winner.position as usize)
    }

    /// Whether any destination has much to spare.
    pub(crate) const fn any_spare(&self) -> bool {
        self.spare > 0
    }

    /// How many positions there is room for.
    pub(crate) const fn room(&self) -> usize {
        self.scores.len()
    }

    /// Who wins the group of this number in its round; `before` is the first group of the round before.
    fn play(&self, group: &Group, number: usize, before: Option<usize>) -> Player {
        let (seat, rank) = group.first();
        let mut winner = Player { rank, position: self.position(number * WIDTH + seat, before) };
        // Those of the last rank are all ineligible, where they are anybody.
        if !self.plain && rank < Rank::LAST {
            let mut best = self.score(winner.position);
            for seat in group.of_rank(rank).filter(|other| *other > seat) {
                let rival = self.position(number * WIDTH + seat, before);
                let score = self.score(rival);
                if score.beats(&best) {
                    (winner.position, best) = (rival, score);
                }
            }
        }
        winner
    }

    /// Who has a seat in the round after the one that begins with group `before`, or in the first.
    fn position(&self, seat: usize, before: Option<usize>) -> u32 {
        match before {
            None => seat as u32,
            Some(first) => self.winners.get(first + seat).map_or(0, |winner| winner.position),
        }
    }

    fn score(&self, position: u32) -> Score {
        self.scores.get(position as usize).copied().unwrap_or(Score::NEVER)
    }
}

impl Player {
    const NOBODY: Self = Self { rank: Rank::LAST, position: 0 };
}

/// The first group and the number of groups of each round that so many positions play.
fn rounds(positions: usize) -> impl Iterator<Item = (usize, usize)> {
    let first = (positions > 0).then_some((0, positions.div_ceil(WIDTH)));
    iter::successors(first, |&(first, groups)| (groups > 1).then(|| (first + groups, groups.div_ceil(WIDTH))))
}

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
