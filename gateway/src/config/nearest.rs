//! Did you mean: the known setting nearest to a name that is not known.

use super::settings::SETTINGS;

/// The key that `name` was probably meant to be.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    let keys = || SETTINGS.iter().map(|setting| setting.key);
    // The right name without its section, or in a wrong one.
    let last = name.rsplit('.').next().unwrap_or(name);
    let mut sections = keys().filter(|key| key.rsplit('.').next() == Some(last));
    let close = keys().map(|key| (distance(name, key), key)).min().filter(|(edits, _)| *edits <= 1 + name.len() / 5);
    match (close, sections.next(), sections.next()) {
        (Some((_, key)), ..) | (None, Some(key), None) => Some(key),
        _ => None,
    }
}

/// How many characters must be put in, taken out or changed to turn one into the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let changed = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        for (name, meant) in [
            ("stream.qeue", Some("stream.queue")),
            ("sever.listen", Some("server.listen")),
            ("store_url", Some("store.url")),
            ("retry", Some("stream.retry")),
            ("auth.retry", Some("stream.retry")),
            ("listen", None),
            ("trace.endpoint", None),
            ("", None),
        ] {
            assert_eq!(nearest(name), meant, "{name}");
        }
    }

    #[test]
    fn counts_edits() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("äb", "ab"), 1);
    }
}
