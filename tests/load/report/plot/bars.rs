//! A bar for each server and case, with its value at its end.

use super::{Palette, WIDTH, page, text};

const LEFT: f64 = 290.0;
const RIGHT: f64 = 100.0;
const TOP: f64 = 44.0;
const ROW: f64 = 26.0;

/// A bar.
#[derive(Debug, Clone, Copy)]
pub struct Bar<'a> {
    /// Whose.
    pub server: &'a str,
    /// What for.
    pub case: &'a str,
    /// How long.
    pub value: f64,
}

/// Bars below each other.
pub fn bars(title: &str, bars: &[Bar<'_>], show: impl Fn(f64) -> String) -> String {
    let most = bars.iter().map(|bar| bar.value).fold(f64::MIN_POSITIVE, f64::max);
    let (mut body, mut palette) = (String::new(), Palette::of_servers());
    for (at, Bar { server, case, value }) in bars.iter().enumerate() {
        let y = TOP + at as f64 * ROW;
        let width = (value.max(0.0) / most * (WIDTH - LEFT - RIGHT)).max(1.0);
        let colour = palette.colour(server);
        body += &text(LEFT - 10.0, y + 14.0, "end", &format!("{server}, {case}"));
        body +=
            &format!("<rect x=\"{LEFT}\" y=\"{y}\" width=\"{width:.1}\" height=\"18\" rx=\"2\" fill=\"{colour}\"/>\n");
        body += &text(LEFT + width + 8.0, y + 14.0, "start", &show(*value));
    }
    page(title, TOP + 12.0 + bars.len() as f64 * ROW, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_value() {
        let bar = |server, value| Bar { server, case: "x", value };
        let plot = bars("costs", &[bar("a & b", 2.0), bar("c", 1.0)], |value| format!("{value} µs"));
        let full = WIDTH - LEFT - RIGHT;
        assert!(
            plot.contains(&format!("width=\"{full:.1}\"")) && plot.contains(&format!("width=\"{:.1}\"", full / 2.0))
        );
        assert!(plot.contains("a &amp; b, x") && plot.contains("2 µs"));
    }
}
