//! One change of a destination list, as workers replay it.

use crate::Dest;
use crate::DestId;
use crate::Levels;

/// One change of a destination list, as workers replay it.
///
/// Control makes one edit for each change, from the list as it was before the change. To change
/// several destinations it makes several edits, each from the list that the edit before it gave.
///
/// Linux: the `add_dest`, `del_dest` and `upd_dest` hooks of `struct ip_vs_scheduler`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edit {
    /// What happened.
    pub what: What,
    /// To which destination.
    pub dest: DestId,
    /// For a deletion: the element that stood before it, `None` if it was the first.
    pub before: Option<DestId>,
    /// The levels of the list after the change.
    pub levels: Levels,
}

/// What an [`Edit`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A destination was put at the front of the list.
    Added,
    /// A destination was taken out.
    Deleted,
    /// A destination was edited, even if with the same values.
    Updated,
}

impl Edit {
    /// `dest` is put at the front of `old`.
    pub fn added(old: &[Dest], dest: &Dest) -> Self {
        Self { what: What::Added, dest: dest.id, before: None, levels: Levels::of_with(old, dest) }
    }

    /// `dest` is taken out of `old`.
    pub fn deleted(old: &[Dest], dest: DestId) -> Self {
        let before = old.iter().take_while(|d| d.id != dest).last().map(|d| d.id);
        Self { what: What::Deleted, dest, before, levels: Levels::of_without(old, dest) }
    }

    /// The member of `old` with the id of `dest` becomes `dest`.
    pub fn updated(old: &[Dest], dest: &Dest) -> Self {
        Self { what: What::Updated, dest: dest.id, before: None, levels: Levels::of_replaced(old, dest) }
    }
}
