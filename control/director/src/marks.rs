//! Compiles the mark rules that the operator said.

use std::sync::Arc;

use dataplane::io::PortId;
use dataplane::marks::Marks;
use dataplane::marks::rule::{Action, Net as PathNet, Ports, Rule, Side, Term};
use model::{MarkBatchError, MarkChange, MarkError, MarkRule, MarkTable, MarkTarget, Net, Not, PortSide};

use crate::compile::Director;

impl Director {
    /// The mark rules as the operator said them.
    pub fn marks(&self) -> &[MarkRule] {
        self.marks.rules()
    }

    /// Makes all changes of the mark rules and publishes them. When one is refused, none is made,
    /// and the error says which one was refused.
    pub fn change_marks(&mut self, changes: Vec<MarkChange>) -> Result<(), MarkBatchError> {
        let marks = self.compile_marks(changes)?;
        self.take_marks(marks);
        self.publish();
        Ok(())
    }

    /// The mark rules after these changes, as the operator said them and as workers read them.
    pub(super) fn compile_marks(
        &self,
        changes: Vec<MarkChange>,
    ) -> Result<(MarkTable, Arc<Marks>), MarkBatchError> {
        let index = changes.len().saturating_sub(1);
        let mut marks = self.marks.clone();
        marks.apply_all(changes)?;
        let rules: Vec<_> = marks.rules().iter().map(|rule| path_rule(rule, marks.interfaces())).collect();
        // The table of rules refuses more rules than there is room for, so this should not happen.
        let full = |_| MarkBatchError { index, error: MarkError::Full(dataplane::marks::MOST) };
        let compiled = Marks::compile(&rules).map_err(full)?;
        Ok((marks, Arc::new(compiled)))
    }

    pub(super) fn take_marks(&mut self, (marks, compiled): (MarkTable, Arc<Marks>)) {
        self.marks = marks;
        self.rules.master.set_marks(compiled);
    }

    /// The table of the mark rules.
    pub(super) fn mark_table(&self) -> &MarkTable {
        &self.marks
    }
}

fn path_rule(rule: &MarkRule, interfaces: &[String]) -> Rule {
    let net = |term: Not<Net>| Term {
        value: PathNet { addr: term.value.addr, mask: term.value.mask },
        negated: term.negated,
    };
    let one = |side, term: Option<Not<(u16, u16)>>| {
        term.map(|term| Term { value: Ports { side, ranges: vec![term.value] }, negated: term.negated })
    };
    let list = rule.multiport.as_ref().map(|term| {
        let side = match term.value.side {
            PortSide::Destination => Side::Destination,
            PortSide::Either => Side::Either,
            PortSide::Source => Side::Source,
        };
        Term { value: Ports { side, ranges: term.value.ports.clone() }, negated: term.negated }
    });
    Rule {
        source: rule.source.map(net),
        destination: rule.destination.map(net),
        ingress: rule.in_interface.as_ref().map(|term| Term {
            value: rule.named(interfaces).map(|number| PortId::new(number as u16)).collect(),
            negated: term.negated,
        }),
        protocol: rule.protocol.map(|term| Term { value: term.value, negated: term.negated }),
        ports: [one(Side::Source, rule.source_port), one(Side::Destination, rule.destination_port), list]
            .into_iter()
            .flatten()
            .collect(),
        action: match rule.target {
            MarkTarget::Accept | MarkTarget::Return => Action::End,
            MarkTarget::Mark { value, mask } => Action::Set { value, mask },
        },
    }
}
