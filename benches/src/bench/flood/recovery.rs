//! How long something was amiss.

/// Windows in a row without loss that make a recovery.
pub(super) const IN_A_ROW: u32 = 10;

/// When something was last amiss.
#[derive(Debug, Default)]
pub(super) struct Recovery {
    /// Up to when, in cycles.
    amiss: u64,
    /// Windows since then.
    pub(super) in_a_row: u32,
}

impl Recovery {
    /// A window that ended at `now` was as it should be, or was not.
    pub(super) fn note(&mut self, well: bool, now: u64) {
        self.in_a_row = if well { self.in_a_row + 1 } else { 0 };
        if !well {
            self.amiss = now;
        }
    }

    /// When all was well again, if it was.
    pub(super) fn seconds(&self, hz: u64) -> Option<f64> {
        (self.in_a_row >= IN_A_ROW).then(|| self.amiss as f64 / hz as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recovered_is_what_stays_well() {
        let mut recovery = Recovery::default();
        for (nth, well) in [true, false, true, false].into_iter().enumerate() {
            recovery.note(well, nth as u64 + 1);
        }
        assert_eq!(recovery.seconds(2), None);
        for now in 5..15 {
            recovery.note(true, now);
        }
        assert_eq!(recovery.seconds(2), Some(2.0));
    }
}
