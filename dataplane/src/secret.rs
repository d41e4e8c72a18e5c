//! Secret numbers of a worker, one for each use.
//!
//! Clients see some results of these numbers: which real server a random choice falls on, the IP id
//! of an ICMP error. So each number is drawn independently, and a client that learns one of them
//! knows nothing about the others. The most important one is the secret of the table's hash: it
//! keeps clients from choosing keys that collide.

/// One worker's secrets. They are drawn again at every start.
#[derive(Clone, Copy)]
pub struct Secrets {
    /// Seed of the connection table's hash.
    pub table: u64,
    /// Seed of the schedulers' random choices.
    pub choices: u64,
    /// Seed of the defence's random choices: local ports, and packets in a flood.
    pub lots: u64,
    /// The local port with which FULLNAT begins.
    pub ports: u32,
    /// The number before the IP id of the first ICMP error.
    pub icmp_id: u16,
}

impl Secrets {
    /// Draws each secret from a number of its own. `random` returns one number after the other, and
    /// nobody must be able to guess them.
    pub fn draw<E>(mut random: impl FnMut() -> Result<u64, E>) -> Result<Self, E> {
        Ok(Self {
            table: random()?,
            choices: random()?,
            lots: random()?,
            ports: random()? as u32,
            icmp_id: random()? as u16,
        })
    }

    /// Numbers that depend only on the seed. They are not secret: use them for tests and
    /// measurements.
    pub const fn repeatable(seed: u64) -> Self {
        Self { table: seed, choices: seed, lots: !seed, ports: 0, icmp_id: seed as u16 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_comes_from_the_number_of_another() {
        let whole = |secrets: Secrets| {
            let Secrets { table, choices, lots, ports, icmp_id } = secrets;
            [table, choices, lots, ports.into(), icmp_id.into()]
        };
        let numbers = |changed: usize| {
            let mut nth = 0;
            move || {
                nth += 1;
                Ok::<u64, ()>(if nth == changed { 999 } else { nth as u64 })
            }
        };
        let plain = whole(Secrets::draw(numbers(0)).unwrap_or(Secrets::repeatable(0)));
        for changed in 1..=plain.len() {
            let other = whole(Secrets::draw(numbers(changed)).unwrap_or(Secrets::repeatable(0)));
            let differ: Vec<_> = (1..=plain.len()).filter(|n| plain[n - 1] != other[n - 1]).collect();
            assert_eq!(differ, [changed]);
        }
    }
}
