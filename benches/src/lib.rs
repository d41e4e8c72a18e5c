//! Instruction counts of the packet path: a director in memory, and fixed work for it.
//!
//! The binary `instructions` does one kind of work a known number of times; `scripts/instructions`
//! runs it under callgrind and compares instructions an item with those recorded in
//! `instructions.txt`. Unlike nanoseconds they are the same on every run. What cache misses cost is
//! for `vipline bench` to say.

pub mod bench;
pub mod farm;
pub mod io;
pub mod packet;
pub mod rig;
pub mod rules;
pub mod work;
