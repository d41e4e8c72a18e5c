//! The bytes of Linux IPVS: replays recorded exchanges between programs and Linux, without Linux.

mod fuzz;
mod recording;
mod refusals;
mod replay_netlink;
mod replay_sockopt;
mod round_trips;
mod speech;
mod world;
