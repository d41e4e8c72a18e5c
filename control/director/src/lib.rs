//! The rules put to work: the model compiled into what workers read, the counts of the workers, and
//! the answers that are made of both.
//!
//! The daemon has a director over devices. [`sim`] is a whole director in memory, made of the same
//! parts.

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
