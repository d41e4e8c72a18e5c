//! Statistics in two forms: for older programs with 32 bits, only bytes with 64; and all with 64
//! bits.

use api::Traffic;

use super::attribute::Writer;

/// Writes both forms, as the attributes `narrow` and `wide`.
pub(super) fn write(writer: &mut Writer<'_>, narrow: u16, wide: u16, traffic: &Traffic) {
    let Traffic { counters, rates } = traffic;
    let counts = [counters.conns, counters.inpkts, counters.outpkts];
    let bytes = [counters.inbytes, counters.outbytes];
    let rates = [rates.cps, rates.inpps, rates.outpps, rates.inbps, rates.outbps];
    writer.nest(narrow, |nest| {
        // The upper 32 bits of a count are cut off.
        (CONNS..).zip(counts).for_each(|(kind, count)| nest.u32(kind, count as u32));
        (IN_BYTES..).zip(bytes).for_each(|(kind, count)| nest.u64(kind, PAD, count));
        (CPS..).zip(rates).for_each(|(kind, rate)| nest.u32(kind, rate as u32));
    });
    writer.nest(wide, |nest| {
        let all = counts.into_iter().chain(bytes).chain(rates);
        (CONNS..).zip(all).for_each(|(kind, number)| nest.u64(kind, PAD, number));
    });
}

// IPVS_STATS_ATTR_*, in the order of the arrays above.
const CONNS: u16 = 1;
const IN_BYTES: u16 = 4;
const CPS: u16 = 6;
const PAD: u16 = 11;
