//! Connections: their keys, their entries, the table that finds them, the wheel that ends them.

pub mod entry;
pub mod key;
pub mod table;
pub mod tcp;
pub mod track;
pub mod wheel;
