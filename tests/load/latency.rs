//! Latencies of a round: counted in a histogram, told as percentiles.

use hdrhistogram::Histogram;

use crate::figure::Figure;
use crate::row::Row;

/// The most that is told apart, in microseconds.
const MOST: u64 = 120_000_000;

/// An empty histogram of microseconds, exact to one in a thousand.
pub fn empty() -> Histogram<u64> {
    Histogram::new_with_bounds(1, MOST, 3).expect("bounds that fit")
}

/// What it holds, to be sent elsewhere.
pub fn counts(histogram: &Histogram<u64>) -> Vec<(u64, u64)> {
    histogram.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value())).collect()
}

/// Adds what came from elsewhere.
pub fn add(histogram: &mut Histogram<u64>, counts: &[(u64, u64)]) {
    for (value, count) in counts {
        histogram.saturating_record_n(*value, *count);
    }
}

/// Milliseconds below which this share of all lies.
fn millis(histogram: &Histogram<u64>, share: f64) -> f64 {
    histogram.value_at_quantile(share) as f64 / 1_000.0
}

/// Adds the percentiles and the curve to a row.
pub fn add_figures(row: &mut Row, histogram: &Histogram<u64>) {
    for (figure, share) in [(Figure::P50, 0.5), (Figure::P99, 0.99), (Figure::P999, 0.999), (Figure::Max, 1.0)] {
        row.add(figure, millis(histogram, share));
    }
    row.curve = curve(histogram);
}

/// A curve for a plot: shares that come ever closer to 1, with their milliseconds.
pub fn curve(histogram: &Histogram<u64>) -> Vec<(f64, f64)> {
    if histogram.is_empty() {
        return Vec::new();
    }
    let nines = (0..=40).map(|step| 1.0 - 10f64.powf(-f64::from(step) / 10.0));
    let shown = nines.take_while(|share| (1.0 - share) * histogram.len() as f64 >= 1.0);
    shown.map(|share| (share, millis(histogram, share))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_the_way_to_another_process() {
        let (mut here, mut there) = (empty(), empty());
        (1..=1_000u64).for_each(|n| here.saturating_record(n * 1_000));
        add(&mut there, &counts(&here));
        add(&mut there, &counts(&here));
        assert_eq!(there.len(), 2_000);
        for share in [0.0, 0.5, 0.99, 0.999, 1.0] {
            assert_eq!(millis(&here, share), millis(&there, share));
        }
        assert!((millis(&there, 0.5) - 500.0).abs() < 1.0 && (millis(&there, 0.99) - 990.0).abs() < 1.0);
    }

    #[test]
    fn a_curve_ends_where_there_is_nothing_left_to_tell() {
        let mut histogram = empty();
        assert_eq!(curve(&histogram), []);
        (0..1_000).for_each(|_| histogram.saturating_record(2_000));
        let curve = curve(&histogram);
        assert_eq!(curve.len(), 31);
        assert!(curve.iter().all(|(_, millis)| (millis - 2.0).abs() < 0.01));
    }
}
