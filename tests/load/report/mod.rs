//! The figures of all runs: a table to read, JSON to compare, Markdown to publish, and plots.

mod gallery;
mod plot;
mod table;
mod worse;

use std::path::Path;

use serde::Serialize;

use crate::figure::Figure;
use crate::machine;
use crate::options::{Options, Scenario, Store};
use crate::row::{Row, Spread, Summary};
use gallery::{Plot, plots_of};
use table::Table;
use worse::worse;

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

    /// To be published. `plots` is where the plots are, as seen from the page.
    pub fn markdown(&self, plots: Option<&Path>) -> String {
        let mut text = format!("# Gateways under load: results\n\n{}\n", self.head());
        for (scenario, results) in self.scenarios() {
            text += &format!("\n## {}\n\n{}. `{}`\n\n", scenario.name(), scenario.about(), self.command(scenario));
            text += &table(&results).markdown();
            let notes = notes(&results);
            if !notes.is_empty() {
                text += "\n";
            }
            notes.iter().for_each(|note| text += &format!("- {note}\n"));
            for Plot { name, title, .. } in plots.into_iter().flat_map(|_| plots_of(scenario, &results)) {
                let file = plots.unwrap_or(Path::new("")).join(name).with_extension("svg");
                text += &format!("\n![{title}]({})\n", file.display());
            }
        }
        text
    }

    /// Writes the files that were asked for.
    pub fn write(&self, options: &Options) -> Result<(), String> {
        if let Some(path) = &options.json {
            write(path, &serde_json::to_string_pretty(self).map_err(|e| e.to_string())?)?;
        }
        if let Some(path) = &options.markdown {
            let here = path.parent().unwrap_or(Path::new(""));
            let plots = options.svg.as_deref().map(|folder| folder.strip_prefix(here).unwrap_or(folder));
            write(path, &self.markdown(plots))?;
        }
        if let Some(folder) = &options.svg {
            std::fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
            let scenarios = self.scenarios();
            for Plot { name, svg, .. } in scenarios.iter().flat_map(|(scenario, results)| plots_of(*scenario, results))
            {
                write(&folder.join(name).with_extension("svg"), &svg)?;
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
        let spread = |figure: &Figure| summary.figures.iter().find(|spread| spread.figure == *figure);
        let shown = |figure: &Figure| spread(figure).map_or("–".to_owned(), Spread::show);
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
    results.iter().flat_map(note).chain(worse(results)).collect()
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
}
