//! The figures of all runs: a table to read, JSON to compare, Markdown to publish, and plots.

mod plot;
mod table;

use std::path::Path;

use serde::Serialize;

use crate::figure::Figure;
use crate::machine;
use crate::options::{Options, Scenario, Store};
use crate::row::{Row, Summary};
use plot::{Axis, Bar, Curve};
use table::Table;

/// The figures of all runs.
#[derive(Debug, Serialize)]
pub struct Report {
    machine: String,
    connections: u32,
    runs: u32,
    store: &'static str,
    data_bytes: usize,
    /// Bytes of an event on the wire.
    pub event_bytes: usize,
    command: String,
    results: Vec<Summary>,
}

impl Report {
    /// One without figures yet.
    pub fn new(options: &Options) -> Self {
        let store = match options.store {
            Store::Memory => "memory",
            Store::Redis => "redis",
        };
        Self {
            machine: machine::describe(),
            connections: options.connections,
            runs: options.runs,
            store,
            data_bytes: options.data,
            event_bytes: 0,
            command: flags(),
            results: Vec::new(),
        }
    }

    /// Takes the figures.
    pub fn finish(&mut self, rows: &[Row]) {
        self.results = Summary::of(rows);
    }

    /// Whether none of ours lost anything.
    pub fn is_kept(&self) -> bool {
        self.results.iter().all(|summary| summary.kept || !summary.ours)
    }

    /// To be read in a terminal.
    pub fn text(&self) -> String {
        let mut text = format!("\n{}\n", self.head());
        for (scenario, results) in self.scenarios() {
            text += &format!("\n{}: {}\n\n{}", scenario.name(), scenario.about(), table(&results).text());
            notes(&results).iter().for_each(|note| text += &format!("  {note}\n"));
        }
        text
    }

    /// To be published.
    pub fn markdown(&self) -> String {
        let mut text = format!("{}\n", self.head());
        for (scenario, results) in self.scenarios() {
            text += &format!("\n### {}\n\n{}. `{}`\n\n", scenario.name(), scenario.about(), self.command(scenario));
            text += &table(&results).markdown();
            let notes = notes(&results);
            if !notes.is_empty() {
                text += "\n";
            }
            notes.iter().for_each(|note| text += &format!("- {note}\n"));
        }
        text
    }

    /// Writes the files that were asked for.
    pub fn write(&self, options: &Options) -> Result<(), String> {
        if let Some(path) = &options.json {
            write(path, &serde_json::to_string_pretty(self).map_err(|e| e.to_string())?)?;
        }
        if let Some(path) = &options.markdown {
            write(path, &self.markdown())?;
        }
        if let Some(folder) = &options.svg {
            std::fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
            for (name, plot) in self.plots() {
                write(&folder.join(name).with_extension("svg"), &plot)?;
            }
        }
        Ok(())
    }

    fn head(&self) -> String {
        let Self { machine, connections, runs, store, data_bytes, event_bytes, .. } = self;
        format!(
            "{machine}. {connections} connections, store {store}, medians of {runs} run{}; an event has {data_bytes} \
             bytes of data, {event_bytes} on the wire.",
            if *runs == 1 { "" } else { "s" }
        )
    }

    fn command(&self, scenario: Scenario) -> String {
        format!("tests/run load {}{}", scenario.name(), self.command)
    }

    fn scenarios(&self) -> Vec<(Scenario, Vec<&Summary>)> {
        let mut groups: Vec<(Scenario, Vec<&Summary>)> = Vec::new();
        for summary in &self.results {
            match groups.iter_mut().find(|(scenario, _)| *scenario == summary.scenario) {
                Some((_, group)) => group.push(summary),
                None => groups.push((summary.scenario, vec![summary])),
            }
        }
        groups
    }

    /// Plots with their names: the main figure of each scenario as bars, and what has curves as curves.
    fn plots(&self) -> Vec<(String, String)> {
        let mut plots = Vec::new();
        for (scenario, results) in self.scenarios() {
            let figure = if scenario == Scenario::Idle { Figure::Rss } else { Figure::Cpu };
            let bar = |s: &&'_ Summary| Some((s.get(figure)?, s.server.clone(), s.case.clone()));
            let bars: Vec<_> = results.iter().filter_map(bar).collect();
            let bars: Vec<_> = bars.iter().map(|(value, server, case)| Bar { server, case, value: *value }).collect();
            if !bars.is_empty() {
                let title = format!("{}: {}", scenario.name(), figure.heading());
                plots.push((scenario.name(), plot::bars(&title, &bars, |value| figure.show(value))));
            }
            let curves: Vec<_> = results.iter().filter(|summary| !summary.curve.is_empty()).collect();
            if !curves.is_empty() {
                plots.push((format!("{}-curve", scenario.name()), curves_of(scenario, &curves)));
            }
        }
        plots
    }
}

/// Clients that are back over time for a storm, latencies for all else.
fn curves_of(scenario: Scenario, results: &[&&Summary]) -> String {
    let curves: Vec<_> = results.iter().map(|s| Curve { server: &s.server, case: &s.case, points: &s.curve }).collect();
    let points = results.iter().flat_map(|summary| &summary.curve);
    if scenario == Scenario::Churn {
        let connects = Axis::Linear(points.clone().map(|(x, _)| *x).fold(1.0, f64::max));
        let mib = Axis::Linear(points.map(|(_, y)| *y * 1.2).fold(1.0, f64::max));
        return plot::curves(
            "churn: resident memory",
            (&connects, "streams opened and closed"),
            (&mib, "MiB"),
            &curves,
        );
    }
    if scenario == Scenario::Storm {
        let seconds = Axis::Linear(points.map(|(x, _)| *x).fold(0.1, f64::max));
        let shares = Axis::Linear(100.0);
        let title = "storm: clients that have all they missed";
        return plot::curves(title, (&seconds, "seconds after all come back at once"), (&shares, "%"), &curves);
    }
    let millis = Axis::log_around(points.map(|(_, y)| *y));
    let title = format!("{}: from publish to client", scenario.name());
    plot::curves(&title, (&Axis::Nines(4.0), "share of deliveries that are faster"), (&millis, "ms"), &curves)
}

fn label(summary: &Summary) -> String {
    format!("{}, {}", summary.server, summary.case)
}

/// The options of this process that make a difference.
fn flags() -> String {
    let args = std::env::args().skip(1).collect::<Vec<_>>();
    let mut flags = String::new();
    let mut args = args.iter().peekable();
    while let Some(arg) = args.next() {
        let value = args.next_if(|next| !next.starts_with("--") && arg.starts_with("--") && *arg != "--quick");
        let to_file = ["--json", "--markdown", "--svg"].iter().any(|file| arg.starts_with(file));
        if arg.starts_with("--") && !to_file {
            flags += &format!(" {arg}");
            value.iter().for_each(|value| flags += &format!(" {value}"));
        }
    }
    flags
}

fn table(results: &[&Summary]) -> Table {
    let mut figures: Vec<Figure> = Vec::new();
    for spread in results.iter().flat_map(|summary| &summary.figures) {
        if !figures.contains(&spread.figure) {
            figures.push(spread.figure);
        }
    }
    figures.sort_unstable();
    let mut table =
        Table::new(["server", "case"].into_iter().chain(figures.iter().map(|f| f.heading())).chain(["kept"]));
    for summary in results {
        let shown = |figure: &Figure| summary.get(*figure).map_or("–".to_owned(), |value| figure.show(value));
        let kept = if summary.kept { "yes" } else { "NOT KEPT" };
        let cells = figures.iter().map(shown).chain([kept.to_owned()]);
        table.add([summary.server.clone(), summary.case.clone()].into_iter().chain(cells));
    }
    table
}

fn notes(results: &[&Summary]) -> Vec<String> {
    let note = |summary: &&Summary| {
        let label = label(summary);
        summary.notes.iter().map(move |note| format!("{label}: {note}")).collect::<Vec<_>>()
    };
    results.iter().flat_map(note).collect()
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
}
