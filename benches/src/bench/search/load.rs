//! The loads that a search may try: a grid. Each load is higher than the one below it by the same
//! ratio.

/// A load of a [`Grid`], counted from the smallest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::bench) struct Step(u32);

impl Step {
    /// The smallest load.
    pub(super) const FIRST: Self = Self(0);

    /// The load `steps` lower, or the smallest.
    pub(super) const fn down(self, steps: u32) -> Self {
        Self(self.0.saturating_sub(steps))
    }

    /// The load `steps` higher.
    pub(super) const fn up(self, steps: u32) -> Self {
        Self(self.0.saturating_add(steps))
    }

    /// How many steps this load is above `lower`.
    pub(super) const fn above(self, lower: Self) -> u32 {
        self.0.saturating_sub(lower.0)
    }
}

/// All loads from the smallest to the largest, in packets a second.
#[derive(Clone, Copy, Debug)]
pub(in crate::bench) struct Grid {
    min: f64,
    max: f64,
    last: u32,
}

impl Grid {
    /// Loads from `min` to `max`, which must be greater. Each load is below the next by at most the
    /// part `width` of the next.
    pub(in crate::bench) fn new(min: f64, max: f64, width: f64) -> Self {
        let steps = (max / min).ln() / -(1.0 - width).ln();
        Self { min, max, last: (steps.ceil() as u32).max(1) }
    }

    /// The largest load.
    pub(super) const fn last(&self) -> Step {
        Step(self.last)
    }

    /// Packets a second at `step`.
    pub(super) fn load(&self, step: Step) -> f64 {
        if step.0 >= self.last {
            return self.max;
        }
        self.min * (self.max / self.min).powf(f64::from(step.0) / f64::from(self.last))
    }

    /// The largest load that is at most `load`; if there is none, the smallest load.
    pub(super) fn at_most(&self, load: f64) -> Step {
        if load >= self.max {
            return self.last();
        }
        let steps = (load / self.min).ln() / (self.max / self.min).ln() * f64::from(self.last);
        // The cast turns a negative number, or NaN, into zero.
        Step(steps as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_no_wider_than_asked_and_the_ends_are_exact() {
        for (min, max, width) in [(10_000.0, 148.8e6, 0.005), (1.0, 1.001, 0.005), (5.0, 6.0, 0.5)] {
            let grid = Grid::new(min, max, width);
            assert_eq!((grid.load(Step::FIRST), grid.load(grid.last())), (min, max));
            for n in 0..grid.last {
                let (low, high) = (grid.load(Step(n)), grid.load(Step(n + 1)));
                assert!(low < high && 1.0 - low / high <= width * (1.0 + 1e-9), "{low} {high}");
            }
        }
    }

    #[test]
    fn a_load_is_found_on_the_grid_or_rounded_down() {
        let grid = Grid::new(1000.0, 1e6, 0.01);
        for n in 0..grid.last {
            assert_eq!(grid.at_most(grid.load(Step(n)) * 1.001), Step(n));
        }
        assert_eq!(grid.at_most(2e6), grid.last());
        assert_eq!((grid.at_most(3.0), grid.at_most(0.0)), (Step::FIRST, Step::FIRST));
    }
}
