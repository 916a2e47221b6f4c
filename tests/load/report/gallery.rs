//! The plots of a scenario: which figures are drawn, and over which axes.

use super::plot::{self, Axis, Bar, Curve};
use crate::figure::Figure;
use crate::options::Scenario;
use crate::row::Summary;

/// A plot.
#[derive(Debug)]
pub struct Plot {
    /// The name of its file, without its end.
    pub name: String,
    /// What it shows.
    pub title: String,
    /// The plot itself.
    pub svg: String,
}

/// The plots of a scenario: the main figure as bars, and what has curves as curves.
pub fn plots_of(scenario: Scenario, results: &[&Summary]) -> Vec<Plot> {
    let mut plots = Vec::new();
    let figure = if scenario == Scenario::Idle { Figure::Rss } else { Figure::Cpu };
    let bars = results.iter();
    let bars: Vec<_> =
        bars.filter_map(|s| Some(Bar { server: &s.server, case: &s.case, value: s.get(figure)? })).collect();
    if !bars.is_empty() {
        let title = format!("{}: {}", scenario.name(), figure.heading());
        let svg = plot::bars(&title, &bars, |value| figure.show(value));
        plots.push(Plot { name: scenario.name(), title, svg });
    }
    let with_curve = results.iter().filter(|summary| !summary.curve.is_empty());
    let curves: Vec<_> = with_curve.map(|s| Curve { server: &s.server, case: &s.case, points: &s.curve }).collect();
    if !curves.is_empty() {
        let (title, svg) = curves_of(scenario, &curves);
        plots.push(Plot { name: format!("{}-curve", scenario.name()), title, svg });
    }
    plots
}

/// Clients that are back over time for a storm, memory over connects for churn, latencies for all else.
fn curves_of(scenario: Scenario, curves: &[Curve<'_>]) -> (String, String) {
    let points = || curves.iter().flat_map(|curve| curve.points);
    let right = || Axis::linear_to(points().map(|(x, _)| *x).fold(0.1, f64::max));
    let (what, x, y) = match scenario {
        Scenario::Churn => (
            "resident memory",
            (right(), "streams opened and closed"),
            (Axis::linear_to(points().map(|(_, y)| *y).fold(0.1, f64::max)), "MiB"),
        ),
        Scenario::Storm => (
            "clients that have all they missed",
            (right(), "seconds after all come back at once"),
            (Axis::Linear(100.0), "%"),
        ),
        _ => (
            "from publish to client",
            (Axis::Nines(4.0), "share of deliveries that are faster"),
            (Axis::log_around(points().map(|(_, y)| *y)), "ms"),
        ),
    };
    let title = format!("{}: {what}", scenario.name());
    let plot = plot::curves(&title, (&x.0, x.1), (&y.0, y.1), curves);
    (title, plot)
}
