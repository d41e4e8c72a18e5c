//! Measurements of the packet path: `vipline bench`, and instruction counts of a director in memory
//! that does fixed work.
//!
//! The binary `instructions` does one kind of work a known number of times. `scripts/instructions`
//! runs it under callgrind and compares the instructions of each item with the record in
//! `instructions.txt`. Unlike nanoseconds, they are the same on every run. They do not show the
//! cost of cache misses; `vipline bench` does.

pub mod bench;
pub mod farm;
pub mod io;
pub mod packet;
pub mod rig;
pub mod rules;
pub mod work;
