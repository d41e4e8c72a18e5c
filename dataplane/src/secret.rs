//! What a worker must not let anybody guess: a number for each use.
//!
//! Clients see some of what is made of them: which real server a drawn lot falls on, the IP id of
//! an ICMP error. So each is drawn by itself, and what one gives away says nothing of the others,
//! least of all of the table's hash, whose secret is what keeps clients from choosing keys that
//! collide.

/// One worker's secrets, drawn anew at every start.
#[derive(Clone, Copy)]
pub struct Secrets {
    /// Of the connection table's hash.
    pub table: u64,
    /// Of the lots that schedulers draw.
    pub choices: u64,
    /// Of the lots that the defence draws, for local ports and against floods.
    pub lots: u64,
    /// Where FULLNAT begins among the local ports.
    pub ports: u32,
    /// The IP id before that of the first ICMP error.
    pub icmp_id: u16,
}

impl Secrets {
    /// Secrets that each come from numbers of their own: `random` gives one after the other and
    /// must not be guessed.
    pub fn draw<E>(mut random: impl FnMut() -> Result<u64, E>) -> Result<Self, E> {
        Ok(Self {
            table: random()?,
            choices: random()?,
            lots: random()?,
            ports: random()? as u32,
            icmp_id: random()? as u16,
        })
    }

    /// The same for the same seed, and no secrets: for tests and measurements.
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
