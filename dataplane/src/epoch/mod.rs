//! Control hands data to workers: whole versions of shared data (`versions`), and inside them a
//! cell for each worker (`cells`).

pub use self::cells::PerWorker;
pub use self::cells::WorkerToken;
pub use self::cells::Workers;
pub use self::versions::Publisher;
pub use self::versions::Reader;

mod cells;
mod versions;
