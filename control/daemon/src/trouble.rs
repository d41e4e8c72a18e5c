//! What is wrong with a port. The log tells each trouble when it comes and once more when it is
//! over; `vipline status` shows those that last.

use std::collections::BTreeMap;

/// In which way something is wrong. A port has at most one trouble of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TroubleKind {
    /// The interface has another Ethernet address than the director.
    Address,
    /// Packets may be longer than the buffers.
    Buffers,
    /// The host interface could not be given the device's MTU.
    HostMtu,
    /// The host interface could not be given the link's carrier.
    Carrier,
    /// The device has queues from which nobody takes packets.
    Queues,
}

impl TroubleKind {
    /// What the log says when a trouble of this kind is over.
    const fn over(self) -> &'static str {
        match self {
            Self::Address => "the Ethernet address is right again",
            Self::Buffers => "all packets fit the buffers again",
            Self::HostMtu => "the host interface has the device's MTU again",
            Self::Carrier => "the carrier of the host interface could be set again",
            Self::Queues => "packets are taken from all receive queues again",
        }
    }
}

/// The troubles of one port that last.
#[derive(Debug, Default)]
pub(super) struct Troubles(BTreeMap<TroubleKind, String>);

/// A line for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// Nobody needs to act.
    Good(String),
    /// Somebody should act.
    Bad(String),
}

impl Troubles {
    /// Takes over the present trouble of one kind, or that there is none. The answer is for the
    /// log; there is none when nothing has changed.
    pub(super) fn set(&mut self, kind: TroubleKind, present: Option<String>) -> Option<News> {
        match present {
            Some(trouble) if self.0.get(&kind) == Some(&trouble) => None,
            Some(trouble) => {
                self.0.insert(kind, trouble.clone());
                Some(News::Bad(trouble))
            }
            None => self.0.remove(&kind).map(|_| News::Good(kind.over().to_owned())),
        }
    }

    /// The troubles, each with what to do.
    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.values().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_is_told_when_it_comes_when_it_changes_and_when_it_is_over() {
        let mut troubles = Troubles::default();
        let bad = |text: &str| Some(News::Bad(text.to_owned()));
        let mut set = |text: Option<&str>| troubles.set(TroubleKind::Queues, text.map(str::to_owned));
        assert_eq!(set(None), None);
        assert_eq!([set(Some("4 queues")), set(Some("4 queues"))], [bad("4 queues"), None]);
        assert_eq!(set(Some("8 queues")), bad("8 queues"));
        assert_eq!([set(None), set(None)], [Some(News::Good(TroubleKind::Queues.over().to_owned())), None]);
        assert_eq!(troubles.iter().count(), 0);
    }
}
