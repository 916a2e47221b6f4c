//! Where a peer did better than a gateway in the same case: it is told, not left to be found.

use crate::figure::Figure;
use crate::row::{RAW, Summary};

/// What a peer may be better by before it is more than chance.
const CHANCE: f64 = 1.05;
/// Figures of which less is better.
const COSTS: [Figure; 10] = [
    Figure::Cpu,
    Figure::P50,
    Figure::P99,
    Figure::P999,
    Figure::Max,
    Figure::Rss,
    Figure::Kernel,
    Figure::HalfSeconds,
    Figure::Seconds,
    Figure::CpuSeconds,
];

/// A line for each case in which a peer did better in anything.
pub fn worse(results: &[&Summary]) -> Vec<String> {
    let mut lines = Vec::new();
    for ours in results.iter().filter(|summary| summary.ours && summary.server != RAW) {
        for peer in results.iter().filter(|peer| !peer.ours && peer.case == ours.case) {
            let costs: Vec<String> = COSTS.iter().filter_map(|figure| worse_in(*figure, ours, peer)).collect();
            if !costs.is_empty() {
                let (Summary { server, case, .. }, better) = (ours, &peer.server);
                lines.push(format!("{server}, {case}: worse than {better} in {}", costs.join(", ")));
            }
        }
    }
    lines
}

fn worse_in(figure: Figure, ours: &Summary, peer: &Summary) -> Option<String> {
    let (ours, theirs) = (ours.get(figure)?, peer.get(figure)?);
    let told = || format!("{} ({} to {})", figure.heading(), figure.show(ours), figure.show(theirs));
    (ours > theirs * CHANCE && figure.show(ours) != figure.show(theirs)).then(told)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Scenario;
    use crate::row::Row;

    fn row(server: &str, ours: bool, cpu: f64, p50: f64) -> Row {
        Row {
            scenario: Scenario::Keyed,
            server: server.to_owned(),
            case: "some".to_owned(),
            ours,
            kept: true,
            figures: vec![(Figure::Cpu, cpu), (Figure::P50, p50), (Figure::Delivered, cpu)],
            notes: Vec::new(),
            curve: Vec::new(),
        }
    }

    #[test]
    fn what_a_peer_does_better_is_told() {
        let rows = [row(RAW, true, 9.0, 9.0), row("gateway", true, 3.0, 1.0), row("peer", false, 2.0, 1.0)];
        let summaries = Summary::of(&rows);
        let lines = worse(&summaries.iter().collect::<Vec<_>>());
        assert_eq!(lines, ["gateway, some: worse than peer in CPU/delivery (3.00 µs to 2.00 µs)"]);
    }
}
