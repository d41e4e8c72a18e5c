//! The bytes of Linux IPVS: replays recorded exchanges between programs and Linux, without Linux.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod recording;
mod replay_netlink;
mod replay_sockopt;
mod world;
