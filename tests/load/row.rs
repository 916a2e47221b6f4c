//! What was measured of one server in one case, and the median of that over several runs.

use serde::Serialize;

use crate::figure::Figure;
use crate::options::Scenario;
use crate::server::Server;

/// What one run measured of one server in one case.
#[derive(Debug, Clone)]
pub struct Row {
    /// In which scenario.
    pub scenario: Scenario,
    /// Which server.
    pub server: String,
    /// What was done with it.
    pub case: String,
    /// Whether a fault of it fails the run.
    pub ours: bool,
    /// Nothing was lost, and all else was as it should be.
    pub kept: bool,
    /// The figures, in the order of their columns.
    pub figures: Vec<(Figure, f64)>,
    /// What else is to be known.
    pub notes: Vec<String>,
    /// The curve of its plot, if it has one.
    pub curve: Vec<(f64, f64)>,
}

impl Row {
    /// One without figures yet.
    pub fn new(scenario: Scenario, server: &Server, case: &str) -> Self {
        Self {
            scenario,
            server: server.spec.name.clone(),
            case: case.to_owned(),
            ours: server.is_ours(),
            kept: true,
            figures: Vec::new(),
            notes: Vec::new(),
            curve: Vec::new(),
        }
    }

    /// Adds a figure.
    pub fn add(&mut self, figure: Figure, value: f64) {
        self.figures.push((figure, value));
    }

    /// A figure.
    pub fn get(&self, figure: Figure) -> Option<f64> {
        self.figures.iter().find(|(other, _)| *other == figure).map(|(_, value)| *value)
    }
}

/// Puts beside each cost of a run how it compares to the same of the raw writer in that run.
pub fn compare(rows: &mut [Row]) {
    let raw: Vec<(String, f64)> = rows
        .iter()
        .filter(|row| row.server == RAW)
        .filter_map(|row| Some((row.case.clone(), row.get(Figure::Cpu)?)))
        .collect();
    for row in rows {
        let limit = raw.iter().find(|(case, _)| *case == row.case);
        if let (Some((_, limit)), Some(at)) = (limit, row.figures.iter().position(|(f, _)| *f == Figure::Cpu)) {
            let ratio = row.figures[at].1 / limit;
            row.figures.insert(at + 1, (Figure::ToRaw, ratio));
        }
    }
}

/// The name of the raw writer.
pub const RAW: &str = "raw writer";

/// The same over several runs.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// In which scenario.
    pub scenario: Scenario,
    /// Which server.
    pub server: String,
    /// What was done with it.
    pub case: String,
    /// How often.
    pub runs: usize,
    /// Whether a fault of it fails the run.
    pub ours: bool,
    /// Whether nothing was lost in any run.
    pub kept: bool,
    /// By figure.
    pub figures: Vec<Spread>,
    /// Of the first run, and of each in which something was lost.
    pub notes: Vec<String>,
    /// Of the last run.
    pub curve: Vec<(f64, f64)>,
}

/// A figure over several runs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// Which.
    pub figure: Figure,
    /// The middle one.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The most.
    pub most: f64,
}

impl Summary {
    /// Brings together the rows of all runs, in the order in which they first came.
    pub fn of(rows: &[Row]) -> Vec<Self> {
        let mut groups: Vec<Vec<&Row>> = Vec::new();
        for row in rows {
            let key = |row: &Row| (row.scenario, row.server.clone(), row.case.clone());
            match groups.iter_mut().find(|group| key(group[0]) == key(row)) {
                Some(group) => group.push(row),
                None => groups.push(vec![row]),
            }
        }
        groups.iter().map(|group| Self::one(group)).collect()
    }

    fn one(group: &[&Row]) -> Self {
        let (first, last) = (group[0], group[group.len() - 1]);
        let spread = |figure| Spread::of(figure, group.iter().filter_map(|row| row.get(figure)).collect());
        let told = group.iter().enumerate().filter(|(at, row)| *at == 0 || !row.kept);
        let figures: Vec<Spread> = first.figures.iter().map(|(figure, _)| spread(*figure)).collect();
        let over: Vec<String> = figures.iter().filter_map(Spread::over_bound).collect();
        Self {
            scenario: first.scenario,
            server: first.server.clone(),
            case: first.case.clone(),
            runs: group.len(),
            ours: first.ours,
            kept: over.is_empty() && group.iter().all(|row| row.kept),
            figures,
            notes: told.flat_map(|(_, row)| row.notes.clone()).chain(over).collect(),
            curve: last.curve.clone(),
        }
    }

    /// The median of a figure.
    pub fn get(&self, figure: Figure) -> Option<f64> {
        self.figures.iter().find(|spread| spread.figure == figure).map(|spread| spread.median)
    }
}

impl Spread {
    fn of(figure: Figure, mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let (least, most) = (values[0], values[values.len() - 1]);
        let median = f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2]);
        Self { figure, median, least, most }
    }

    /// Says so if the median is above what the figure may be.
    fn over_bound(&self) -> Option<String> {
        let bound = self.figure.bound().filter(|bound| self.median > *bound)?;
        let (heading, median) = (self.figure.heading(), self.figure.show(self.median));
        Some(format!("{heading} is {median}, and may be {} at most", self.figure.show(bound)))
    }

    /// As it is read by people: costs with how far the runs were apart.
    pub fn show(&self) -> String {
        let median = self.figure.show(self.median);
        match self.figure {
            figure if figure.shows_spread() && self.least < self.most => {
                format!("{median} ({:.2}–{:.2})", self.least, self.most)
            }
            _ => median,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(server: &str, cpu: f64) -> Row {
        let figures = vec![(Figure::Cpu, cpu), (Figure::P50, 1.0)];
        Row {
            scenario: Scenario::Broadcast,
            server: server.to_owned(),
            case: "one at a time".to_owned(),
            ours: true,
            kept: cpu < 9.0,
            figures,
            notes: vec![format!("{cpu}")],
            curve: Vec::new(),
        }
    }

    #[test]
    fn a_summary_is_the_median_of_runs() {
        let rows = [row("a", 3.0), row("b", 1.0), row("a", 10.0), row("a", 4.0)];
        let summaries = Summary::of(&rows);
        assert_eq!(summaries.len(), 2);
        let spread = Spread { figure: Figure::Cpu, median: 4.0, least: 3.0, most: 10.0 };
        assert_eq!((summaries[0].runs, summaries[0].figures[0]), (3, spread));
        assert_eq!(spread.show(), "4.00 µs (3.00–10.00)");
        assert_eq!(summaries[0].figures[1].show(), "1.0 ms");
        assert_eq!((summaries[0].kept, &summaries[0].notes[..]), (false, &["3".to_owned(), "10".to_owned()][..]));
        assert!(summaries[1].kept);
        assert_eq!(Summary::of(&[row("a", 1.0), row("a", 2.0)])[0].get(Figure::Cpu), Some(1.5));
    }

    #[test]
    fn a_median_over_its_bound_is_not_kept() {
        let with = |ratio| {
            let figures = vec![(Figure::P99ToHarmless, ratio)];
            Row { figures, ..row("a", 1.0) }
        };
        let summary = &Summary::of(&[with(1.9), with(9.0), with(1.0)])[0];
        assert!(summary.kept);
        let summary = &Summary::of(&[with(2.1), with(2.2), with(1.0)])[0];
        assert!(!summary.kept);
        assert_eq!(summary.notes.last().unwrap(), "p99 to harmless is 2.10, and may be 2.00 at most");
    }

    #[test]
    fn costs_are_compared_within_a_run() {
        let mut rows = [row(RAW, 2.0), row("a", 3.0)];
        compare(&mut rows);
        assert_eq!(rows[0].get(Figure::ToRaw), Some(1.0));
        assert_eq!(rows[1].get(Figure::ToRaw), Some(1.5));
        assert_eq!(rows[1].figures[1].0, Figure::ToRaw);
    }
}
