//! The packet path without a device: for tests, fuzzing, simulation and measurement.
//!
//! * [`MemDirector`]: a whole director in one thread. It has rules, any number of workers, and a
//!   clock that stands still until somebody moves it.
//! * [`Nic`]: which receive queue a frame comes to, and so which worker.
//! * [`MemIo`]: a worker's queues as lists of frames. A director takes other I/O as well.
//!
//! Production builds none of this. The rules, workers and tables inside are production's own.

mod director;
mod io;
mod nic;

pub use director::Collected;
pub use director::MemDirector;
pub use director::START;
pub use director::Size;
pub use director::Unaccounted;
pub use io::MemFrame;
pub use io::MemIo;
pub use nic::Abilities;
pub use nic::Nic;
