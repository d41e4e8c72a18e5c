//! A tournament over list positions.

use alloc::vec;
use alloc::vec::Vec;

use crate::measure::Score;

/// A tournament over list positions: the best score wins, the earlier position among equals.
///
/// A heap-shaped array: node 1 is the root, `2n` and `2n + 1` play for node `n`, and the nodes from
/// `leaves` on are the positions themselves, whose winner is known without being stored.
#[derive(Debug)]
pub(crate) struct Tree {
    /// By position; as long as there is room, the unused ones [`Score::NEVER`].
    scores: Vec<Score>,
    /// By node: the position that won it.
    winners: Vec<u32>,
    /// How many of the scores are of destinations with much to spare.
    spare: usize,
    /// A power of two.
    leaves: usize,
}

impl Tree {
    /// A tree with room for so many positions, all of them not eligible.
    pub(crate) fn with_room(room: usize) -> Self {
        let leaves = if room == 0 { 0 } else { room.next_power_of_two() };
        Self { scores: vec![Score::NEVER; leaves], winners: vec![0; leaves], spare: 0, leaves: 0 }
    }

    /// Replaces all scores.
    pub(crate) fn fill(&mut self, scores: impl ExactSizeIterator<Item = Score>) {
        self.leaves = scores.len().next_power_of_two().min(self.room());
        let padded = scores.chain(core::iter::repeat(Score::NEVER));
        self.spare = 0;
        for (slot, score) in self.scores.iter_mut().take(self.leaves).zip(padded) {
            *slot = score;
            self.spare += usize::from(score.spare());
        }
        for node in (1..self.leaves).rev() {
            let winner = self.play(node);
            if let Some(slot) = self.winners.get_mut(node) {
                *slot = winner;
            }
        }
    }

    /// Replaces the score of one position, and plays its games again from the leaf up.
    pub(crate) fn set(&mut self, position: usize, score: Score) {
        match self.scores.get_mut(position) {
            Some(slot) if position < self.leaves && *slot != score => {
                self.spare -= usize::from(slot.spare());
                self.spare += usize::from(score.spare());
                *slot = score;
            }
            _ => return,
        }
        let (mut winner, mut best) = (position as u32, score);
        let mut node = self.leaves + position;
        while node > 1 {
            let rival = self.winner_of(node ^ 1);
            let score = self.score_of(rival);
            // An odd node is its parent's right one, whose rival wins when they are equal.
            let loses = best.loses(&score, node % 2 == 1);
            (winner, best) = if loses { (rival, score) } else { (winner, best) };
            node /= 2;
            let Some(slot) = self.winners.get_mut(node) else { return };
            // Where neither the winner is another nor its score has changed, nothing above changes.
            if *slot == winner && winner as usize != position {
                return;
            }
            *slot = winner;
        }
    }

    /// The position that won, if any is eligible.
    pub(crate) fn winner(&self) -> Option<usize> {
        let position = self.winner_of(1);
        self.score_of(position).eligible().then_some(position as usize)
    }

    /// Whether any destination has much to spare.
    pub(crate) const fn any_spare(&self) -> bool {
        self.spare > 0
    }

    /// How many positions there is room for.
    pub(crate) const fn room(&self) -> usize {
        self.scores.len()
    }

    /// The better of the two that play for `node`.
    fn play(&self, node: usize) -> u32 {
        let (left, right) = (self.winner_of(2 * node), self.winner_of(2 * node + 1));
        if self.score_of(right).beats(&self.score_of(left)) { right } else { left }
    }

    fn winner_of(&self, node: usize) -> u32 {
        match node.checked_sub(self.leaves) {
            Some(position) => position as u32,
            None => self.winners.get(node).copied().unwrap_or(0),
        }
    }

    fn score_of(&self, position: u32) -> Score {
        self.scores.get(position as usize).copied().unwrap_or(Score::NEVER)
    }
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
        assert_eq!(tree.room(), 32);
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
        assert_eq!(tree.winner(), Some(3));
        tree.set(9, score(1));
        assert_eq!(tree.winner(), Some(3));
        tree.fill([5].map(score).into_iter());
        assert_eq!(tree.winner(), Some(0));
        tree.set(3, score(1));
        assert_eq!(tree.winner(), Some(0));
    }
}
