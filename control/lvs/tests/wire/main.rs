//! The bytes of Linux IPVS: what programs and Linux said to each other, done again without Linux.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod recording;
mod replay_netlink;
mod replay_sockopt;
mod world;
