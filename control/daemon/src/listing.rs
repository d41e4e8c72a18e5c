//! Asks the workers for pages of connections while control does other things.
//!
//! A worker tells a page when it has time, between bursts. Nobody waits for it: [`Listing::go_on`]
//! takes what is there, and the control loop comes back for the rest. Pages are told one after the
//! other, so the listings of several clients take turns.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use api::{ConnectionQuery, Response};
use dataplane::worker::report::{ConnView, PAGE, Page, Report, ReportReader};
use director::answer;
use model::Model;

/// How long a worker may take for a page before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(2);

/// The pages that are wanted, each with the client that waits for it.
pub(super) struct Listing<T> {
    readers: Vec<ReportReader>,
    waiting: VecDeque<(T, ConnectionQuery)>,
    /// For the first page that is wanted: what has come so far.
    views: Vec<ConnView>,
    /// For the first page that is wanted: until when the worker may take.
    deadline: Option<Instant>,
    /// For the first page that is wanted: whether the worker has been asked.
    asked: bool,
}

impl<T> Listing<T> {
    /// No page is wanted. There is one reader for each worker.
    pub(super) fn new(readers: Vec<ReportReader>) -> Self {
        Self { readers, waiting: VecDeque::new(), views: Vec::new(), deadline: None, asked: false }
    }

    /// Adds a page that `who` wants.
    pub(super) fn want(&mut self, who: T, query: ConnectionQuery) {
        self.waiting.push_back((who, query));
    }

    /// Whether any page is wanted.
    pub(super) fn is_busy(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Takes what has come. Returns a page that is complete, or the answer that it does not come.
    /// Pages of clients that are `gone` are not gathered.
    pub(super) fn go_on(
        &mut self,
        model: &Model,
        now: Instant,
        gone: impl Fn(&T) -> bool,
    ) -> Option<(T, Response)> {
        while self.waiting.front().is_some_and(|(who, _)| gone(who)) {
            self.next();
        }
        let (_, query) = self.waiting.front()?;
        // The cursor contains the worker's number and its next slot.
        let cursor = query.from.unwrap_or(0);
        let (worker, from) = ((cursor >> 32) as usize, cursor as u32);
        let deadline = *self.deadline.get_or_insert(now + PATIENCE);
        let Some(reader) = self.readers.get_mut(worker) else {
            return self.done(Response::Connections { rows: Vec::new(), next: None });
        };
        // If an earlier page was given up because the worker was late, that page comes first.
        if !self.asked && (!reader.pending || take(reader, &mut self.views).is_some()) {
            self.views.clear();
            self.asked = reader.ask.push(Page { from, slots: PAGE }).is_ok();
            reader.pending = self.asked;
        }
        let ended = if self.asked { take(reader, &mut self.views) } else { None };
        let Some(next) = ended else {
            let late = now >= deadline;
            return late.then(|| self.done(Response::Failed(format!("worker {worker} does not answer"))))?;
        };
        let rows = answer::rows(model, &query.filter, &self.views, worker);
        let next = match next {
            Some(slot) => Some((worker as u64) << 32 | u64::from(slot)),
            None if worker + 1 < self.readers.len() => Some((worker as u64 + 1) << 32),
            None => None,
        };
        self.done(Response::Connections { rows, next })
    }

    fn done(&mut self, response: Response) -> Option<(T, Response)> {
        self.next().map(|who| (who, response))
    }

    /// Removes the first client that waits, and prepares for the next page.
    fn next(&mut self) -> Option<T> {
        (self.deadline, self.asked) = (None, false);
        self.views.clear();
        self.waiting.pop_front().map(|(who, _)| who)
    }
}

/// Takes what a worker has told. Once the worker has told all of the page, returns where the next
/// page begins.
#[expect(clippy::option_option, reason = "the inner one is the worker's word")]
fn take(reader: &mut ReportReader, views: &mut Vec<ConnView>) -> Option<Option<u32>> {
    while let Ok(report) = reader.answers.pop() {
        match report {
            Report::Conn(view) => views.push(view),
            Report::End(next) => {
                reader.pending = false;
                return Some(next);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use dataplane::epoch::Workers;
    use dataplane::mem::{MemDirector, MemIo, Size};
    use dataplane::snapshot::master::Master;
    use dataplane::snapshot::rules::Rules;
    use model::ModelOptions;
    use sched::MhSize;

    use super::*;

    fn from(slot: u32) -> ConnectionQuery {
        ConnectionQuery { from: Some(slot.into()), ..ConnectionQuery::default() }
    }

    fn empty(next: u32) -> Response {
        Response::Connections { rows: Vec::new(), next: Some(next.into()) }
    }

    #[test]
    fn a_worker_is_never_waited_for_and_late_pages_are_not_taken_for_others() {
        let (workers, tokens) = Workers::new(1);
        let (rules, ends) = Rules::new(Master::new(workers, MhSize::default()), tokens);
        let size = Size { connections: 8 * PAGE, ..Size::default() };
        let mut director = MemDirector::over(rules, ends, size, [MemIo::new(1)]).with_listings();
        let listings = std::mem::take(&mut director.listings);
        let mut polls = |listing: &mut Listing<char>, model: &Model, now| {
            (0..1000).find_map(|_| {
                director.poll();
                listing.go_on(model, now, |_| false)
            })
        };
        let model = Model::new(ModelOptions::all());
        let mut listing = Listing::new(listings);
        let begun = Instant::now();
        assert!(!listing.is_busy() && listing.go_on(&model, begun, |_| false).is_none());

        // Two clients take turns. A worker that does not poll holds nobody up.
        listing.want('a', from(0));
        listing.want('b', from(PAGE));
        assert!(listing.is_busy());
        assert_eq!(listing.go_on(&model, begun, |_| false), None);
        assert_eq!(listing.go_on(&model, begun, |_| false), None);
        assert_eq!(polls(&mut listing, &model, begun), Some(('a', empty(PAGE))));
        listing.want('a', from(PAGE));
        assert_eq!(polls(&mut listing, &model, begun), Some(('b', empty(2 * PAGE))));
        assert_eq!(polls(&mut listing, &model, begun), Some(('a', empty(2 * PAGE))));

        // The page is given up. What the worker says of it afterwards is not taken for another
        // page.
        listing.want('c', from(3 * PAGE));
        assert_eq!(listing.go_on(&model, begun, |_| false), None);
        let (who, response) = listing.go_on(&model, begun + PATIENCE, |_| false).unwrap();
        assert!(who == 'c' && matches!(response, Response::Failed(_)), "{response:?}");
        listing.want('d', from(5 * PAGE));
        assert_eq!(polls(&mut listing, &model, begun), Some(('d', empty(6 * PAGE))));
        assert!(!listing.is_busy());

        // A client that has gone gets no page, whether the worker was asked for the page or not.
        listing.want('e', from(0));
        assert_eq!(listing.go_on(&model, begun, |_| false), None);
        listing.want('f', from(0));
        assert_eq!(listing.go_on(&model, begun, |who| "ef".contains(*who)), None);
        assert!(!listing.is_busy());
        listing.want('g', from(PAGE));
        assert_eq!(polls(&mut listing, &model, begun), Some(('g', empty(2 * PAGE))));
    }
}
