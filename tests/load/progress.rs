//! What a person at a terminal sees while it runs.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar over all steps on a terminal, and a line for each step elsewhere.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// For so many steps.
    pub fn new(steps: usize) -> Self {
        let bar = ProgressBar::new(steps as u64);
        let style = ProgressStyle::with_template("{elapsed_precise} [{bar:30}] {pos}/{len} {spinner} {wide_msg}");
        bar.set_style(style.expect("a template").progress_chars("=> "));
        bar.enable_steady_tick(Duration::from_millis(120));
        Self { bar }
    }

    /// What is done now.
    pub fn say(&self, what: &str) {
        self.bar.set_message(what.to_owned());
        if self.bar.is_hidden() {
            eprintln!("load: {what}");
        }
    }

    /// A step is done.
    pub fn step(&self) {
        self.bar.inc(1);
    }

    /// All is done.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}
