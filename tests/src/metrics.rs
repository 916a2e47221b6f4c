//! Prometheus text, as a scrape brings it.

/// One scrape.
#[derive(Debug, Clone, PartialEq)]
pub struct Metrics {
    samples: Vec<Sample>,
}

#[derive(Debug, Clone, PartialEq)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Metrics {
    /// Reads the text. A line that is no comment and no sample is a fault of the server.
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self { samples: lines.map(|line| sample(line).unwrap_or_else(|| panic!("no sample: {line}"))).collect() }
    }

    /// The sum of all samples of this name that have all of these labels; 0 if there is none, as of a counter that never counted.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let fits = |sample: &&Sample| {
            let has = |(key, value): &(&str, &str)| sample.labels.iter().any(|(k, v)| k == key && v == value);
            sample.name == name && labels.iter().all(has)
        };
        self.samples.iter().filter(fits).map(|sample| sample.value).sum()
    }

    /// Whether any sample has this name.
    pub fn has(&self, name: &str) -> bool {
        self.samples.iter().any(|sample| sample.name == name)
    }
}

fn sample(line: &str) -> Option<Sample> {
    let (series, rest) = match line.split_once('{') {
        Some((name, rest)) => {
            let end = rest.rfind('}')?;
            ((name, &rest[..end]), &rest[end + 1..])
        }
        None => {
            let (name, rest) = line.split_once(' ')?;
            ((name, ""), rest)
        }
    };
    let value = match rest.split_whitespace().next()? {
        "+Inf" => f64::INFINITY,
        number => number.parse().ok()?,
    };
    Some(Sample { name: series.0.to_owned(), labels: labels(series.1)?, value })
}

fn labels(mut text: &str) -> Option<Vec<(String, String)>> {
    let mut labels = Vec::new();
    while !text.is_empty() {
        let (key, rest) = text.split_once("=\"")?;
        let mut value = String::new();
        let mut chars = rest.char_indices();
        let end = loop {
            match chars.next()? {
                (at, '"') => break at,
                (_, '\\') => match chars.next()?.1 {
                    'n' => value.push('\n'),
                    other => value.push(other),
                },
                (_, c) => value.push(c),
            }
        };
        labels.push((key.to_owned(), value));
        text = rest[end + 1..].trim_start_matches(',');
    }
    Some(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_samples_and_sums_over_labels() {
        let text = "# HELP a_total x\n# TYPE a_total counter\na_total{kind=\"resume\",p=\"0\"} 3\n\
                    a_total{kind=\"resume\",p=\"1\"} 4\na_total{kind=\"at\\\"t{a}c,h\"} 5\nb 1.5\nc_bucket{le=\"+Inf\"} +Inf\n# EOF\n";
        let metrics = Metrics::parse(text);
        assert_eq!(metrics.sum("a_total", &[("kind", "resume")]), 7.0);
        assert_eq!(metrics.sum("a_total", &[("kind", "resume"), ("p", "1")]), 4.0);
        assert_eq!(metrics.sum("a_total", &[("kind", "at\"t{a}c,h")]), 5.0);
        assert_eq!(metrics.sum("b", &[]), 1.5);
        assert_eq!(metrics.sum("none", &[]), 0.0);
        assert!(metrics.has("c_bucket") && !metrics.has("a"));
    }
}
