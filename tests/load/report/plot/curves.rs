//! Curves in one frame, each with its name below.

use super::{Axis, Palette, WIDTH, page, text};

const LEFT: f64 = 80.0;
const RIGHT: f64 = 40.0;
const TOP: f64 = 64.0;
const HEIGHT: f64 = 300.0;
const ROW: f64 = 20.0;

/// A line.
#[derive(Debug)]
pub struct Curve<'a> {
    /// Whose: it has the colour.
    pub server: &'a str,
    /// What for: it has the dashes.
    pub case: &'a str,
    /// Its points, from left to right.
    pub points: &'a [(f64, f64)],
}

/// Curves over these axes, each axis with what it shows.
pub fn curves(title: &str, x: (&Axis, &str), y: (&Axis, &str), curves: &[Curve<'_>]) -> String {
    let across = |place: f64| LEFT + place * (WIDTH - LEFT - RIGHT);
    let up = |place: f64| TOP + (1.0 - place) * HEIGHT;
    let line = |(x1, y1): (f64, f64), (x2, y2): (f64, f64)| {
        format!("<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"#e2e8f0\"/>\n")
    };
    let mut body = String::new();
    for (place, words) in x.0.ticks() {
        body += &line((across(place), up(0.0)), (across(place), up(1.0)));
        body += &text(across(place), up(0.0) + 18.0, "middle", &words);
    }
    for (place, words) in y.0.ticks() {
        body += &line((across(0.0), up(place)), (across(1.0), up(place)));
        body += &text(LEFT - 8.0, up(place) + 4.0, "end", &words);
    }
    body += &text(across(1.0), up(0.0) + 38.0, "end", x.1);
    body += &text(16.0, TOP - 6.0, "start", y.1);
    let (mut servers, mut cases) = (Palette::of_servers(), Palette::of_cases());
    for (at, curve) in curves.iter().enumerate() {
        let (colour, dash) = (servers.colour(curve.server), cases.dash(curve.case));
        let stroke = format!("stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dash}\"");
        let points = curve.points.iter().map(|(a, b)| format!("{:.1},{:.1}", across(x.0.place(*a)), up(y.0.place(*b))));
        let points = points.collect::<Vec<_>>().join(" ");
        body += &format!("<polyline points=\"{points}\" fill=\"none\" {stroke}/>\n");
        let below = TOP + HEIGHT + 60.0 + at as f64 * ROW;
        let y = below - 4.0;
        body += &format!("<line x1=\"{LEFT}\" y1=\"{y}\" x2=\"{}\" y2=\"{y}\" {stroke}/>\n", LEFT + 34.0);
        body += &text(LEFT + 44.0, below, "start", &format!("{}, {}", curve.server, curve.case));
    }
    page(title, TOP + HEIGHT + 60.0 + curves.len() as f64 * ROW, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_goes_through_its_points() {
        let points = [(0.0, 0.0), (10.0, 1.0)];
        let curve = Curve { server: "a", case: "b", points: &points };
        let plot = curves("t", (&Axis::Linear(10.0), "s"), (&Axis::Linear(1.0), "share"), &[curve]);
        assert!(plot.contains(&format!("points=\"80.0,{:.1} {:.1},{TOP:.1}\"", TOP + HEIGHT, WIDTH - RIGHT)), "{plot}");
    }
}
