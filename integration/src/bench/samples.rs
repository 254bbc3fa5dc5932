//! Repeated measurements of one thing.

/// Costs in the unit of their row, in the order in which they were measured. Never empty once reported.
#[derive(Clone, Debug, Default)]
pub(super) struct Samples(Vec<f64>);

impl Samples {
    pub(super) fn add(&mut self, cost: f64) {
        self.0.push(cost);
    }

    pub(super) fn values(&self) -> &[f64] {
        &self.0
    }

    /// The middle value; of an even number, the mean of the two in the middle. 0 without samples.
    pub(super) fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        match (sorted.get(middle), sorted.len() % 2) {
            (None, _) => 0.0,
            (Some(&value), 1) => value,
            (Some(&value), _) => f64::midpoint(sorted[middle - 1], value),
        }
    }

    /// (largest − smallest) / median.
    pub(super) fn spread(&self) -> f64 {
        let largest = self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let smallest = self.0.iter().copied().fold(f64::INFINITY, f64::min);
        let median = self.median();
        if median > 0.0 { (largest - smallest) / median } else { 0.0 }
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(costs: I) -> Self {
        Self(costs.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_and_spread() {
        let odd: Samples = [3.0, 1.0, 2.0].into_iter().collect();
        assert!((odd.median() - 2.0).abs() < 1e-9 && (odd.spread() - 1.0).abs() < 1e-9);
        let even: Samples = [4.0, 1.0, 2.0, 3.0].into_iter().collect();
        assert!((even.median() - 2.5).abs() < 1e-9);
        assert!(Samples::default().median().abs() < 1e-9 && Samples::default().spread().abs() < 1e-9);
    }
}
