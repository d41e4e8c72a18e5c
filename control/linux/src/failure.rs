//! A failure that may last. The log is told when it begins, when its reason changes, and when it is
//! over, however often it is met meanwhile.

/// What fails at the moment, if anything.
#[derive(Debug, Default)]
pub(super) struct Failure(Option<String>);

/// What the log is to be told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    /// It fails from now on, for this reason.
    Fails(String),
    /// It works again.
    Works,
}

impl Failure {
    /// Takes over the present reason, or that nothing fails. There is an answer when that is news.
    pub(super) fn set(&mut self, present: Option<String>) -> Option<News> {
        if self.0 == present {
            return None;
        }
        self.0.clone_from(&present);
        Some(present.map_or(News::Works, News::Fails))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_when_it_begins_when_it_changes_and_when_it_is_over() {
        let mut failure = Failure::default();
        let mut set = |why: Option<&str>| failure.set(why.map(str::to_owned));
        let fails = |why: &str| Some(News::Fails(why.to_owned()));
        assert_eq!(set(None), None);
        assert_eq!([set(Some("full")), set(Some("full"))], [fails("full"), None]);
        assert_eq!(set(Some("denied")), fails("denied"));
        assert_eq!([set(None), set(None)], [Some(News::Works), None]);
    }
}
