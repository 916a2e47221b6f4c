//! A table for people: as text, and as Markdown. The first two columns are words, the others are numbers.

/// A table.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

/// Columns that are words.
const WORDS: usize = 2;

impl Table {
    /// One with these headings.
    pub fn new<'a>(headings: impl IntoIterator<Item = &'a str>) -> Self {
        Self { rows: vec![headings.into_iter().map(str::to_owned).collect()] }
    }

    /// Adds a row.
    pub fn add(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// For a terminal.
    pub fn text(&self) -> String {
        let widths = self.widths();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).enumerate().map(|(at, (cell, width))| match at {
                ..WORDS => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
            format!("  {}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
        };
        self.rows.iter().map(line).collect()
    }

    /// For a page.
    pub fn markdown(&self) -> String {
        let line = |row: &Vec<String>| format!("| {} |\n", row.join(" | "));
        let align = |at| if at < WORDS { "---|" } else { "---:|" };
        let rule: String = (0..self.rows[0].len()).map(align).collect();
        let rows: String = self.rows[1..].iter().map(line).collect();
        format!("{}|{rule}\n{rows}", line(&self.rows[0]))
    }

    fn widths(&self) -> Vec<usize> {
        let width = |at| self.rows.iter().map(|row| row.get(at).map_or(0, |cell: &String| cell.chars().count())).max();
        (0..self.rows[0].len()).map(|at| width(at).unwrap_or_default()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_left_and_numbers_right() {
        let mut table = Table::new(["server", "case", "CPU"]);
        table.add(["a".to_owned(), "eight at once".to_owned(), "4.97 µs".to_owned()]);
        table.add(["gateway".to_owned(), "b".to_owned(), "–".to_owned()]);
        let text =
            "  server   case               CPU\n  a        eight at once  4.97 µs\n  gateway  b                    –\n";
        assert_eq!(table.text(), text);
        let markdown =
            "| server | case | CPU |\n|---|---|---:|\n| a | eight at once | 4.97 µs |\n| gateway | b | – |\n";
        assert_eq!(table.markdown(), markdown);
    }
}
