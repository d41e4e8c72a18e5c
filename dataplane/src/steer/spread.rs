//! How well a port does: a word for `status`, and the reason why it does no better.

use core::fmt;

/// How packets of a port find their owners, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Spread {
    /// One worker has all.
    Alone,
    /// The card hashes by a key of [`crate::steer::KeyPair::crafted`]: packets come to their owners.
    Pair,
    /// The card hashes by the symmetric key. Requests come to their owners, and replies to local
    /// addresses. The owner of a NAT reply is the card's choice XOR a constant.
    Symmetric,
    /// The card hashes by its own key, and owners follow that key. Requests come to their owners,
    /// and replies to local addresses. The owner of a NAT reply is computed.
    Own,
    /// The card does not spread packets as owners want: the owner of each packet is computed.
    Software,
}

impl Spread {
    /// The word that `status` shows.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Alone => "one-worker",
            Self::Pair => "rss-pair",
            Self::Symmetric => "rss-symmetric",
            Self::Own => "rss-own-key",
            Self::Software => "software",
        }
    }

    /// Whether the card's hash leads requests to their owners.
    pub const fn is_by_card(self) -> bool {
        matches!(self, Self::Pair | Self::Symmetric | Self::Own)
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// Why a port does no better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its card, or another port's, hashes addresses alone. So each client has one worker.
    AddressesAlone,
    /// Clients and real servers are on one port, which has one key for both.
    OneArm,
    /// Its card's key cannot be set.
    FixedKey,
    /// Its card has a key of its own, and owners follow the key of another port.
    OtherKey,
    /// The keys go together, and another port's key cannot be set, or has both sides.
    OtherPort,
    /// Its card does not hash.
    NoHash,
    /// Its card has one receive queue.
    OneQueue,
    /// Its card's redirection table has this many entries: no power of two, or fewer than workers.
    TableLength(u16),
    /// Its card has fewer receive queues than there are workers. The others are handed their
    /// packets.
    FewQueues(u16),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddressesAlone => {
                f.write_str("a card hashes addresses alone, so each client has one worker")
            }
            Self::OneArm => f.write_str("clients and real servers are on the same port"),
            Self::FixedKey => f.write_str("the key of its RSS hash cannot be set"),
            Self::OtherKey => {
                f.write_str("the key of its RSS hash cannot be set, and differs from another port's")
            }
            Self::OtherPort => {
                f.write_str("the key of another port cannot be set, or that port has both sides")
            }
            Self::NoHash => f.write_str("its card has no RSS hash"),
            Self::OneQueue => f.write_str("its card has one receive queue"),
            Self::TableLength(len) => {
                write!(
                    f,
                    "its RSS table has {len} entries; a power of two is needed, not below the number of workers"
                )
            }
            Self::FewQueues(queues) => {
                write!(f, "its card has {queues} receive queues, fewer than there are workers")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_reasons_are_told() {
        let words = [Spread::Alone, Spread::Pair, Spread::Symmetric, Spread::Own, Spread::Software];
        let told: Vec<String> = words.iter().map(Spread::to_string).collect();
        assert_eq!(told, ["one-worker", "rss-pair", "rss-symmetric", "rss-own-key", "software"]);
        let why = Reason::FewQueues(3).to_string();
        assert_eq!(why, "its card has 3 receive queues, fewer than there are workers");
    }
}
