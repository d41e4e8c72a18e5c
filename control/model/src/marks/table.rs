//! The mark rules in order, and changes of them.

use serde::{Deserialize, Serialize};

use super::rule::{MarkRule, Not};

/// One change of the rules. Rules are numbered from 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MarkChange {
    /// `-A`
    Append(MarkRule),
    /// `-I`
    Insert(usize, MarkRule),
    /// `-R`
    Replace(usize, MarkRule),
    /// `-D` with a rule: deletes the first equal rule.
    Delete(MarkRule),
    /// `-D` with a number.
    DeleteNumber(usize),
    /// `-F`
    Flush,
}

/// Why a change of the rules is refused. After an error nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MarkError {
    /// There is no such rule.
    #[error("no such rule in PREROUTING")]
    NoRule,
    /// There is no rule with this number.
    #[error("{number}: no rule in PREROUTING has this number: expected {}", up_to(*last))]
    NoNumber {
        /// The number asked for.
        number: usize,
        /// The greatest valid number; 0 if there is none.
        last: usize,
    },
    /// No port has such a host interface.
    #[error("-i: {name}: no port has this host interface: expected one of {known}")]
    NoInterface {
        /// The name asked for.
        name: String,
        /// The known names.
        known: String,
    },
    /// The table is full.
    #[error("no room for another rule: expected {0} at most, one with --ports counted twice")]
    Full(usize),
}

fn up_to(last: usize) -> String {
    if last == 0 { "no number, as there are no rules".to_owned() } else { format!("1 to {last}") }
}

/// One of several changes was refused, so none was made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("change {index}: {error}")]
pub struct MarkBatchError {
    /// Which change, counted from 0.
    pub index: usize,
    /// Why.
    #[source]
    pub error: MarkError,
}

/// The rules in order.
#[derive(Clone, Debug)]
pub struct MarkTable {
    rules: Vec<MarkRule>,
    /// The host interfaces that rules may name.
    interfaces: Vec<String>,
    /// How many places the rules may take.
    most: usize,
}

impl MarkTable {
    /// A table without rules, with room for `most`, for ports with these host interfaces.
    pub const fn new(interfaces: Vec<String>, most: usize) -> Self {
        Self { rules: Vec::new(), interfaces, most }
    }

    /// The rules, in order.
    pub fn rules(&self) -> &[MarkRule] {
        &self.rules
    }

    /// The host interfaces, in the order of their ports.
    pub fn interfaces(&self) -> &[String] {
        &self.interfaces
    }

    /// A table without rules, with the room and the interfaces of this one.
    #[must_use]
    pub fn emptied(&self) -> Self {
        Self { rules: Vec::new(), ..self.clone() }
    }

    /// The changes that give this table the rules of `wanted`: the rules that both begin or end with
    /// stay.
    pub fn changes_to(&self, wanted: &Self) -> Vec<MarkChange> {
        let (own, new) = (&self.rules, &wanted.rules);
        let start = own.iter().zip(new).take_while(|(own, new)| own == new).count();
        let ends = own[start..].iter().rev().zip(new[start..].iter().rev());
        let end = ends.take_while(|(own, new)| own == new).count();
        let deleted = own[start..own.len() - end].iter().map(|_| MarkChange::DeleteNumber(start + 1));
        let added = (start + 1..).zip(&new[start..new.len() - end]);
        deleted.chain(added.map(|(number, rule)| MarkChange::Insert(number, rule.clone()))).collect()
    }

    /// Makes all changes in order; if one is refused, makes none.
    pub fn apply_all(&mut self, changes: Vec<MarkChange>) -> Result<(), MarkBatchError> {
        let mut rules = self.rules.clone();
        let mut room: usize = rules.iter().map(MarkRule::room).sum();
        for (index, change) in changes.into_iter().enumerate() {
            let refused = |error| MarkBatchError { index, error };
            self.apply(&mut rules, &mut room, change).map_err(refused)?;
            if room > self.most {
                return Err(refused(MarkError::Full(self.most)));
            }
        }
        self.rules = rules;
        Ok(())
    }

    fn apply(
        &self,
        rules: &mut Vec<MarkRule>,
        room: &mut usize,
        change: MarkChange,
    ) -> Result<(), MarkError> {
        // The index of a rule number; `most` is the greatest valid number.
        let place = |number: usize, most: usize| match number.checked_sub(1) {
            Some(place) if place < most => Ok(place),
            _ => Err(MarkError::NoNumber { number, last: most }),
        };
        match change {
            MarkChange::Append(rule) => {
                self.check(&rule)?;
                *room += rule.room();
                rules.push(rule);
            }
            MarkChange::Insert(number, rule) => {
                let place = place(number, rules.len() + 1)?;
                self.check(&rule)?;
                *room += rule.room();
                rules.insert(place, rule);
            }
            MarkChange::Replace(number, rule) => {
                let place = place(number, rules.len())?;
                self.check(&rule)?;
                *room = *room + rule.room() - rules[place].room();
                rules[place] = rule;
            }
            MarkChange::Delete(rule) => {
                let place = rules.iter().position(|other| *other == rule).ok_or(MarkError::NoRule)?;
                *room -= rules.remove(place).room();
            }
            MarkChange::DeleteNumber(number) => {
                let place = place(number, rules.len())?;
                *room -= rules.remove(place).room();
            }
            MarkChange::Flush => {
                rules.clear();
                *room = 0;
            }
        }
        Ok(())
    }

    fn check(&self, rule: &MarkRule) -> Result<(), MarkError> {
        match &rule.in_interface {
            Some(Not { value: name, .. }) if !rule.names_any(&self.interfaces) => {
                Err(MarkError::NoInterface { name: name.clone(), known: self.interfaces.join(", ") })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MarkTarget, Multiport, PortSide};

    fn rule(value: u32) -> MarkRule {
        MarkRule::new(MarkTarget::Mark { value, mask: u32::MAX })
    }

    fn table() -> MarkTable {
        MarkTable::new(vec!["wan0".into(), "lan0".into()], 4)
    }

    fn values(table: &MarkTable) -> Vec<u32> {
        let value = |rule: &MarkRule| match rule.target {
            MarkTarget::Mark { value, .. } => value,
            _ => 0,
        };
        table.rules().iter().map(value).collect()
    }

    #[test]
    fn changes_put_rules_at_the_given_places() {
        let mut table = table();
        let changes = vec![
            MarkChange::Append(rule(1)),
            MarkChange::Insert(1, rule(2)),
            MarkChange::Insert(3, rule(3)),
            MarkChange::Replace(2, rule(4)),
        ];
        assert_eq!(table.apply_all(changes), Ok(()));
        assert_eq!(values(&table), [2, 4, 3]);
        let changes = vec![MarkChange::Delete(rule(4)), MarkChange::DeleteNumber(1)];
        assert_eq!(table.apply_all(changes), Ok(()));
        assert_eq!(values(&table), [3]);
    }

    #[test]
    fn a_refused_change_changes_nothing() {
        let mut table = table();
        assert_eq!(table.apply_all(vec![MarkChange::Append(rule(1))]), Ok(()));
        let wan = |name: &str| MarkRule {
            in_interface: Some(Not { value: name.into(), negated: true }),
            ..rule(9)
        };
        for (change, error) in [
            (MarkChange::Delete(rule(2)), MarkError::NoRule),
            (MarkChange::DeleteNumber(2), MarkError::NoNumber { number: 2, last: 1 }),
            (MarkChange::DeleteNumber(0), MarkError::NoNumber { number: 0, last: 1 }),
            (MarkChange::Insert(3, rule(2)), MarkError::NoNumber { number: 3, last: 2 }),
            (
                MarkChange::Append(wan("wan")),
                MarkError::NoInterface { name: "wan".into(), known: "wan0, lan0".into() },
            ),
        ] {
            let refused = table.apply_all(vec![MarkChange::Flush, MarkChange::Append(rule(1)), change]);
            assert_eq!(refused, Err(MarkBatchError { index: 2, error }));
            assert_eq!(values(&table), [1]);
        }
        assert_eq!(table.apply_all(vec![MarkChange::Append(wan("wan+"))]), Ok(()));
    }

    #[test]
    fn the_changes_lead_from_any_rules_to_any_others() {
        let with = |values: &[u32]| {
            let mut table = MarkTable::new(Vec::new(), 9);
            let added = values.iter().map(|value| MarkChange::Append(rule(*value)));
            assert_eq!(table.apply_all(added.collect()), Ok(()));
            table
        };
        let lists: [&[u32]; 8] =
            [&[], &[1], &[1, 1], &[1, 2, 3], &[1, 4, 3], &[2, 3], &[1, 2, 2, 3], &[3, 2, 1]];
        for (from, to) in lists.iter().flat_map(|from| lists.iter().map(move |to| (from, to))) {
            let (mut table, wanted) = (with(from), with(to));
            let changes = table.changes_to(&wanted);
            assert_eq!(table.apply_all(changes), Ok(()), "{from:?} to {to:?}");
            assert_eq!(values(&table), *to);
        }
        let one = with(&[1, 2, 3]).changes_to(&with(&[1, 4, 3]));
        assert_eq!(one, [MarkChange::DeleteNumber(2), MarkChange::Insert(2, rule(4))]);
    }

    #[test]
    fn the_number_of_rules_is_limited() {
        let mut table = table();
        let both = Multiport { side: PortSide::Either, ports: vec![(1, 1)] };
        let both = MarkRule { multiport: Some(Not { value: both, negated: false }), ..rule(1) };
        let (two, one) = (MarkChange::Append(both), MarkChange::Append(rule(1)));
        assert_eq!(table.apply_all(vec![two.clone(), two.clone()]), Ok(()));
        let full = MarkBatchError { index: 0, error: MarkError::Full(4) };
        assert_eq!(table.apply_all(vec![one.clone()]), Err(full));
        assert_eq!(table.apply_all(vec![MarkChange::DeleteNumber(1), one.clone(), one]), Ok(()));
    }
}
