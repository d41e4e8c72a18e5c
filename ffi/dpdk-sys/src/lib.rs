//! Raw bindings to the part of DPDK that Vipline uses, written by bindgen at build time.
//!
//! `build/inventory.rs` lists what is here. Struct layouts are asserted at compile time. Only the
//! `dpdk` crate may depend on this crate: `dpdk` keeps the invariants.
#![no_std]
#![allow(
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::multiple_unsafe_ops_per_block,
    clippy::undocumented_unsafe_blocks,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unnecessary_transmutes,
    unreachable_pub,
    unsafe_op_in_unsafe_fn,
    unused_qualifications,
    reason = "generated code that follows C's names"
)]

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
