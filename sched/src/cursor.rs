//! A place in the destination list that survives edits.

use crate::DestId;
use crate::Edit;
use crate::Plan;
use crate::What;

/// A place in the destination list that survives edits: an element, or the head before the first
/// one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor {
    at: Option<DestId>,
    /// The position after the element; 0 at the head.
    next: usize,
}

impl Cursor {
    /// A cursor at the last of the first `skip` elements; at the head if `skip` is 0.
    pub(crate) fn behind(plan: &Plan, skip: usize) -> Self {
        match skip.checked_sub(1).and_then(|last| plan.dests().get(last)) {
            Some(dest) => Self { at: Some(dest.id), next: skip },
            None => Self::HEAD,
        }
    }

    /// Goes to the element at `position`.
    pub(crate) fn go(&mut self, plan: &Plan, position: usize) {
        *self = Self::behind(plan, position + 1);
    }

    /// If the edit took out the cursor's element, moves to the element before it.
    pub(crate) fn replay(&mut self, edit: &Edit) {
        if edit.what == What::Deleted && self.at == Some(edit.dest) {
            self.at = edit.before;
        }
    }

    /// Finds the cursor's element again in a new plan.
    pub(crate) fn rebase(&mut self, plan: &Plan) {
        *self = match self.at.and_then(|id| plan.position(id)) {
            Some(position) => Self { at: self.at, next: position + 1 },
            None => Self::HEAD,
        };
    }

    /// The position after the element; 0 at the head.
    pub(crate) const fn next(&self) -> usize {
        self.next
    }

    /// Whether the cursor stands before all elements.
    pub(crate) const fn is_head(&self) -> bool {
        self.at.is_none()
    }

    pub(crate) const HEAD: Self = Self { at: None, next: 0 };
}
