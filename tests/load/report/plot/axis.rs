//! An axis: where a value lies on it, and what is written along it.

/// An axis. Values outside are put at its ends.
#[derive(Debug, Clone, PartialEq)]
pub enum Axis {
    /// From 0 to this.
    Linear(f64),
    /// From the one to the other, powers of ten all equally far apart.
    Log(f64, f64),
    /// Shares: 90 %, 99 % and so on equally far apart, up to so many nines.
    Nines(f64),
}

impl Axis {
    /// Where a value lies, from 0 to 1.
    pub fn place(&self, value: f64) -> f64 {
        let place = match self {
            Self::Linear(most) => value / most,
            Self::Log(least, most) => (value / least).log10() / (most / least).log10(),
            Self::Nines(nines) => -(1.0 - value).max(1e-12).log10() / nines,
        };
        place.clamp(0.0, 1.0)
    }

    /// What is written along it, and where.
    pub fn ticks(&self) -> Vec<(f64, String)> {
        let values: Vec<f64> = match self {
            Self::Linear(most) => (0..=5).map(|fifth| most / 5.0 * f64::from(fifth)).collect(),
            Self::Log(least, most) => {
                let (from, to) = (least.log10().round() as i32, most.log10().round() as i32);
                (from..=to).map(|power| 10f64.powi(power)).collect()
            }
            Self::Nines(nines) => (0..=*nines as i32).map(|n| 1.0 - 10f64.powi(-n)).collect(),
        };
        values.into_iter().map(|value| (self.place(value), self.show(value))).collect()
    }

    fn show(&self, value: f64) -> String {
        match self {
            Self::Nines(_) => format!("{} %", (value * 1e7).round() / 1e5),
            _ if value >= 10.0 => format!("{value:.0}"),
            _ => format!("{}", (value * 1e3).round() / 1e3),
        }
    }

    /// A linear one that holds this, and whose ticks are round.
    pub fn linear_to(most: f64) -> Self {
        let power = 10f64.powf((most / 5.0).log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|round| round * power).find(|step| step * 5.0 >= most);
        Self::Linear(step.map_or(most, |step| step * 5.0))
    }

    /// A logarithmic one that holds all of these.
    pub fn log_around(values: impl Iterator<Item = f64> + Clone) -> Self {
        let most = values.clone().fold(1.0, f64::max);
        let least = values.filter(|value| *value > 0.0).fold(most, f64::min).max(0.001);
        let (from, to) = (least.log10().floor(), most.log10().ceil());
        Self::Log(10f64.powf(from), 10f64.powf(to.max(from + 1.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_lie_where_they_should() {
        assert_eq!(Axis::Linear(10.0).place(5.0), 0.5);
        assert_eq!(Axis::Log(1.0, 100.0).place(10.0), 0.5);
        assert!((Axis::Nines(4.0).place(0.99) - 0.5).abs() < 1e-9);
        assert_eq!(Axis::Nines(4.0).place(1.0), 1.0);
        assert_eq!(Axis::Log(1.0, 100.0).place(0.0), 0.0);
    }

    #[test]
    fn ticks_are_read_at_a_glance() {
        let words = |axis: Axis| axis.ticks().into_iter().map(|(_, words)| words).collect::<Vec<_>>();
        assert_eq!(words(Axis::Log(0.1, 100.0)), ["0.1", "1", "10", "100"]);
        assert_eq!(words(Axis::Nines(4.0)), ["0 %", "90 %", "99 %", "99.9 %", "99.99 %"]);
        assert_eq!(words(Axis::Linear(5.0)), ["0", "1", "2", "3", "4", "5"]);
    }

    #[test]
    fn an_axis_fits_its_values() {
        assert_eq!(Axis::log_around([0.2, 30.0].into_iter()), Axis::Log(0.1, 100.0));
        assert_eq!(Axis::linear_to(3.8), Axis::Linear(5.0));
        assert_eq!(Axis::linear_to(47.0), Axis::Linear(50.0));
        assert_eq!(Axis::linear_to(2_000_000.0), Axis::Linear(2_500_000.0));
        assert_eq!(Axis::log_around([5.0].into_iter()), Axis::Log(1.0, 10.0));
    }
}
