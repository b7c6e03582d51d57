//! The nearest known word.

/// Longest word that is compared. Longer ones are not typing mistakes, and the comparison is quadratic.
const COMPARED_CHARS_MAX: usize = 64;

/// The candidate nearest to `word`, if it is near enough to be what was meant. Ties: the first.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_ascii_lowercase().replace('-', "_");
    let word: Vec<char> = word.chars().collect();
    if word.is_empty() || word.len() > COMPARED_CHARS_MAX {
        return None;
    }
    // A third of the letters may be wrong, at least one, at most three: beyond that it is another word.
    let limit = (word.len() / 3).clamp(1, 3);
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        if candidate.chars().count().abs_diff(word.len()) > limit {
            continue;
        }
        let other: Vec<char> =
            candidate.to_ascii_lowercase().replace('-', "_").chars().take(COMPARED_CHARS_MAX + 1).collect();
        let d = distance(&word, &other);
        if d <= limit && best.is_none_or(|(b, _)| d < b) {
            best = Some((d, candidate));
        }
    }
    best.map(|(_, c)| c)
}

/// Edit distance in which swapping two neighbours counts as one (optimal string alignment).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, cb) in b.iter().enumerate() {
            let mut cost = (above[j] + usize::from(ca != cb)).min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *ca == b[j - 1] && a[i - 1] == *cb {
                cost = cost.min(before[j - 1] + 1);
            }
            row.push(cost);
        }
        before = std::mem::replace(&mut above, row);
    }
    above.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        let words = ["track_ip", "timeout", "interval", "up", "down", "use_policy"];
        for (typed, meant) in [
            ("track_pi", Some("track_ip")),
            ("trackip", Some("track_ip")),
            ("track-ip", Some("track_ip")),
            ("TRACK_IP", Some("track_ip")),
            ("intervall", Some("interval")),
            ("timeuot", Some("timeout")),
            ("u", Some("up")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, words), meant, "{typed}");
        }
        assert_eq!(nearest(&"x".repeat(100_000), words), None);
    }
}
