//! Plots as SVG that needs no fonts of its own: bars for one figure of many servers, curves for what has many points.

mod axis;
mod bars;
mod curves;

use crate::row::RAW;
pub use axis::Axis;
pub use bars::{Bar, bars};
pub use curves::{Curve, curves};

/// Pixels from left to right.
const WIDTH: f64 = 860.0;
const COLOURS: [&str; 6] = ["#4a5568", "#2b6cb0", "#c05621", "#2f855a", "#805ad5", "#b83280"];
const DASHES: [&str; 4] = ["none", "7 4", "2 3", "10 3 2 3"];

/// Gives out colours and dashes: a colour for each name, in the order in which they come.
#[derive(Debug)]
struct Palette<'a> {
    names: Vec<&'a str>,
}

impl<'a> Palette<'a> {
    /// For servers: the raw writer's colour is its own, in all plots.
    fn of_servers() -> Self {
        Self { names: vec![RAW] }
    }

    fn of_cases() -> Self {
        Self { names: Vec::new() }
    }

    /// The place of a name among those that came.
    fn place(&mut self, name: &'a str) -> usize {
        self.names.iter().position(|other| *other == name).unwrap_or_else(|| {
            self.names.push(name);
            self.names.len() - 1
        })
    }

    fn colour(&mut self, name: &'a str) -> &'static str {
        COLOURS[self.place(name) % COLOURS.len()]
    }

    fn dash(&mut self, name: &'a str) -> &'static str {
        DASHES[self.place(name) % DASHES.len()]
    }
}

fn text(x: f64, y: f64, anchor: &str, words: &str) -> String {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>\n")
}

fn page(title: &str, height: f64, body: &str) -> String {
    let heading = text(16.0, 26.0, "start", title).replace("<text", "<text font-weight=\"600\" font-size=\"15\"");
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" width=\"{WIDTH}\" \
         height=\"{height:.0}\" font-family=\"system-ui, Helvetica, Arial, sans-serif\" font-size=\"13\" \
         fill=\"#2d3748\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n{heading}{body}</svg>\n"
    )
}
