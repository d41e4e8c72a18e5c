//! The names of the schedulers.

/// Which scheduler a service uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// No scheduler: it never chooses a destination.
    None,
    /// Round robin.
    Rr,
    /// Weighted round robin.
    Wrr,
    /// Least connection.
    Lc,
    /// Weighted least connection.
    Wlc,
    /// Locality-based least connection.
    Lblc,
    /// Locality-based least connection with replication.
    Lblcr,
    /// Destination hashing.
    Dh,
    /// Source hashing.
    Sh,
    /// Shortest expected delay.
    Sed,
    /// Never queue.
    Nq,
    /// Weighted failover.
    Fo,
    /// Weighted overflow.
    Ovf,
    /// Maglev hashing.
    Mh,
    /// Power of two choices.
    Twos,
    /// Least traffic.
    Lt,
    /// Weighted least traffic.
    Wlt,
    /// Weighted response time.
    Wrt,
}

impl Kind {
    /// The scheduler that users call `name`; `none` names having no scheduler.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether the scheduler remembers anything about loads. If not, [`crate::State::load_changed`]
    /// does nothing for it.
    pub const fn remembers_loads(self) -> bool {
        !matches!(self, Self::None | Self::Rr | Self::Wrr | Self::Dh | Self::Sh | Self::Mh)
    }

    /// The name users know it by.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Rr => "rr",
            Self::Wrr => "wrr",
            Self::Lc => "lc",
            Self::Wlc => "wlc",
            Self::Lblc => "lblc",
            Self::Lblcr => "lblcr",
            Self::Dh => "dh",
            Self::Sh => "sh",
            Self::Sed => "sed",
            Self::Nq => "nq",
            Self::Fo => "fo",
            Self::Ovf => "ovf",
            Self::Mh => "mh",
            Self::Twos => "twos",
            Self::Lt => "lt",
            Self::Wlt => "wlt",
            Self::Wrt => "wrt",
        }
    }

    /// Every kind, `None` first.
    pub const ALL: [Self; 18] = [
        Self::None,
        Self::Rr,
        Self::Wrr,
        Self::Lc,
        Self::Wlc,
        Self::Lblc,
        Self::Lblcr,
        Self::Dh,
        Self::Sh,
        Self::Sed,
        Self::Nq,
        Self::Fo,
        Self::Ovf,
        Self::Mh,
        Self::Twos,
        Self::Lt,
        Self::Wlt,
        Self::Wrt,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_back_to_its_kind() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_name(kind.name()), Some(kind));
        }
        assert_eq!(Kind::from_name("wrrr"), None);
        assert_eq!(Kind::from_name(""), None);
    }
}
