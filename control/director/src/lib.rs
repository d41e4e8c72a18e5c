//! The rules put to work: the model compiled into what workers read, what workers count, and what
//! is answered of both.
//!
//! The daemon has one over devices; [`sim`] is a whole director in memory, with the same parts.

#![forbid(unsafe_code)]

pub mod advice;
pub mod answer;
pub mod compile;
mod marks;
pub mod paths;
pub mod room;
pub mod sim;
pub mod statistics;
pub mod trash;
