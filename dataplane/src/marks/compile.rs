//! The compiler of mark rules: makes rules into boxes, and boxes into sets. It runs on control and
//! may take time and memory.

use core::net::Ipv4Addr;
use std::vec;
use std::vec::Vec;

use hashbrown::HashMap;

use crate::marks::Conjunction;
use crate::marks::Dimension;
use crate::marks::Field;
use crate::marks::MOST;
use crate::marks::Marks;
use crate::marks::NONE;
use crate::marks::Residue;
use crate::marks::ranges::Ranges;
use crate::marks::rule::Net;
use crate::marks::rule::Rule;
use crate::marks::rule::Side;
use crate::marks::rule::Term;

/// There are more boxes than a set has bits ([`MOST`]). A rule counts once, or twice for each
/// `--ports` that applies to both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyRules;

/// A box while it is compiled: its extent in each dimension, indexed by [`Field`].
type Extent = [Ranges; Field::COUNT];

impl Marks {
    /// Compiles `rules`. A packet is compared with the first rule first.
    pub fn compile(rules: &[Rule]) -> Result<Self, TooManyRules> {
        let mut marks = Self::default();
        let mut extents = Vec::new();
        for (number, rule) in rules.iter().enumerate() {
            let residue = marks.residue(rule);
            for extent in extents_of(rule) {
                extents.push(extent);
                marks.boxes.push(Conjunction { rule: number as u32, action: rule.action, residue });
            }
            if extents.len() > MOST {
                return Err(TooManyRules);
            }
        }
        marks.width = 1 + extents.len().div_ceil(u64::BITS as usize);
        let mut known = HashMap::new();
        for field in Field::ALL {
            if extents.iter().any(|extent| !extent[field as usize].is_all()) {
                let dimension = marks.dimension(field, &extents, &mut known);
                marks.dimensions.push(dimension);
            }
        }
        Ok(marks)
    }

    /// Keeps the conditions of a rule that its boxes cannot express. Returns the number of the
    /// residue, or [`NONE`].
    fn residue(&mut self, rule: &Rule) -> u32 {
        let odd = |term: &Option<Term<Net>>| term.filter(|term| !is_prefix(term.value.mask));
        let (source, destination) = (odd(&rule.source), odd(&rule.destination));
        if source.is_none() && destination.is_none() {
            return NONE;
        }
        self.residues.push(Residue { source, destination });
        (self.residues.len() - 1) as u32
    }

    /// Cuts a field's values at the edges of all boxes. Each interval gets the set of the boxes
    /// that contain it.
    fn dimension(
        &mut self,
        field: Field,
        extents: &[Extent],
        known: &mut HashMap<Vec<u64>, u32>,
    ) -> Dimension {
        // Where each box begins and ends. A box's ranges do not touch, so each edge inverts the
        // box's bit.
        let mut edges = Vec::new();
        for (number, extent) in extents.iter().enumerate() {
            for (first, last) in extent[field as usize].iter() {
                edges.push((first, number));
                edges.extend(last.checked_add(1).map(|end| (end, number)));
            }
        }
        edges.sort_unstable();
        let mut dimension = Dimension { field, starts: Vec::new(), sets: Vec::new() };
        let mut set = vec![0; self.width];
        let mut edges = edges.into_iter().peekable();
        let mut start = 0;
        loop {
            while let Some((_, number)) = edges.next_if(|(at, _)| *at == start) {
                let (word, bit) = (number / u64::BITS as usize, number % u64::BITS as usize);
                set[1 + word] ^= 1 << bit;
                let any = u64::from(set[1 + word] != 0);
                set[0] = set[0] & !(1 << word) | any << word;
            }
            dimension.starts.push(start);
            dimension.sets.push(self.keep(&set, known));
            match edges.peek() {
                Some((next, _)) => start = *next,
                None => return dimension,
            }
        }
    }

    /// Where `set` begins in the list of sets. Equal sets are kept once.
    fn keep(&mut self, set: &[u64], known: &mut HashMap<Vec<u64>, u32>) -> u32 {
        *known.entry_ref(set).or_insert_with(|| {
            self.sets.extend_from_slice(set);
            (self.sets.len() - set.len()) as u32
        })
    }
}

/// The boxes of a rule. There are none if no packet can match the rule.
fn extents_of(rule: &Rule) -> Vec<Extent> {
    let mut first: Extent = std::array::from_fn(|_| Ranges::all());
    first[Field::Source as usize] = addresses(rule.source);
    first[Field::Destination as usize] = addresses(rule.destination);
    if let Some(Term { value, negated }) = &rule.ingress {
        let numbers = value.iter().map(|port| u32::from(port.as_u16()));
        first[Field::Ingress as usize] = Ranges::new(numbers.map(|n| (n, n))).negated(*negated);
    }
    if let Some(Term { value, negated }) = rule.protocol {
        let number = u32::from(value);
        first[Field::Protocol as usize] = Ranges::new([(number, number)].into_iter()).negated(negated);
    }
    let mut extents = vec![first];
    for Term { value, negated } in &rule.ports {
        let numbers = value.ranges.iter().map(|(first, last)| (u32::from(*first), u32::from(*last)));
        let ports = Ranges::new(numbers).negated(*negated);
        let within = |extents: &[Extent], fields: &[Field]| -> Vec<Extent> {
            let mut extents = extents.to_vec();
            for extent in &mut extents {
                for field in fields {
                    let slot = &mut extent[*field as usize];
                    *slot = slot.intersection(&ports);
                }
            }
            extents
        };
        extents = match (value.side, negated) {
            (Side::Source, _) => within(&extents, &[Field::SourcePort]),
            (Side::Destination, _) => within(&extents, &[Field::DestinationPort]),
            // The negation of "one of the two ports is among them" is "neither port is".
            (Side::Either, true) => within(&extents, &[Field::SourcePort, Field::DestinationPort]),
            (Side::Either, false) => {
                let mut both = within(&extents, &[Field::SourcePort]);
                both.extend(within(&extents, &[Field::DestinationPort]));
                both
            }
        };
    }
    extents.retain(|extent| extent.iter().all(|ranges| !ranges.is_empty()));
    extents
}

/// The addresses that a condition admits. For a mask that is not a prefix: the addresses that its
/// leading bits admit.
fn addresses(term: Option<Term<Net>>) -> Ranges {
    let Some(Term { value: Net { addr, mask }, negated }) = term else { return Ranges::all() };
    let prefix = mask.to_bits().leading_ones();
    if negated && !is_prefix(mask) {
        return Ranges::all();
    }
    let host = u32::MAX.checked_shr(prefix).unwrap_or(0);
    let first = addr.to_bits() & !host;
    Ranges::new([(first, first | host)].into_iter()).negated(negated)
}

const fn is_prefix(mask: Ipv4Addr) -> bool {
    mask.to_bits().leading_ones() + mask.to_bits().trailing_zeros() >= u32::BITS
}
