//! What differs between two texts of sections, line by line.

/// Most pairs of lines that are compared; beyond that all of the middle is shown as replaced.
const PAIRS_MAX: usize = 4_000_000;

/// The lines that go (`-`) and come (`+`), each run of them behind the header of its section; empty if there is none.
pub(super) fn of_sections(before: &str, after: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let mut out = String::new();
    // The header of the section we are in, while it is not shown.
    let mut header = None;
    for (mark, line) in steps(&old, &new) {
        let begins = line.starts_with("config ") || line.starts_with('[');
        if mark == ' ' {
            if begins {
                header = Some(line);
            }
            continue;
        }
        if begins {
            header = None;
        } else if let Some(line) = header.filter(|_| !line.trim().is_empty()) {
            out.push_str(&format!(" {line}\n"));
            header = None;
        }
        out.push_str(&format!("{mark}{line}\n"));
    }
    out
}

/// Every line of both: kept, gone, or new.
fn steps<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<(char, &'a str)> {
    let same = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (old_rest, new_rest) = (&old[same..], &new[same..]);
    let tail = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(a, b)| a == b).count();
    let (a, b) = (&old_rest[..old_rest.len() - tail], &new_rest[..new_rest.len() - tail]);
    let mut steps: Vec<(char, &str)> = old[..same].iter().map(|line| (' ', *line)).collect();
    middle(a, b, &mut steps);
    steps.extend(old_rest[old_rest.len() - tail..].iter().map(|line| (' ', *line)));
    steps
}

/// By the longest common subsequence.
fn middle<'a>(a: &[&'a str], b: &[&'a str], steps: &mut Vec<(char, &'a str)>) {
    let width = b.len() + 1;
    let mut longest = Vec::new();
    if a.len().saturating_mul(b.len()) <= PAIRS_MAX {
        longest = vec![0u32; (a.len() + 1) * width];
        for i in (0..a.len()).rev() {
            for j in (0..b.len()).rev() {
                let (down, right) = (longest[(i + 1) * width + j], longest[i * width + j + 1]);
                longest[i * width + j] =
                    if a[i] == b[j] { longest[(i + 1) * width + j + 1] + 1 } else { down.max(right) };
            }
        }
    }
    let at = |i: usize, j: usize| longest.get(i * width + j).copied().unwrap_or(0);
    let (mut i, mut j) = (0, 0);
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] && !longest.is_empty() {
            steps.push((' ', a[i]));
            (i, j) = (i + 1, j + 1);
        } else if i < a.len() && (j == b.len() || at(i + 1, j) >= at(i, j + 1)) {
            steps.push(('-', a[i]));
            i += 1;
        } else {
            steps.push(('+', b[j]));
            j += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_shown_in_its_section() {
        let before = "config a 'x'\n\toption o '1'\n\toption p '1'\n\nconfig b 'y'\n\toption o '1'\n";
        for (after, shown) in [
            (before.to_owned(), ""),
            (before.replacen("o '1'", "o '2'", 1), " config a 'x'\n-\toption o '1'\n+\toption o '2'\n"),
            (before.replace("\toption p '1'\n", ""), " config a 'x'\n-\toption p '1'\n"),
            (format!("{before}\nconfig c 'z'\n\toption q '1'\n"), "+\n+config c 'z'\n+\toption q '1'\n"),
            (before.replace("config b 'y'\n\toption o '1'\n", ""), "-config b 'y'\n-\toption o '1'\n"),
            (
                before.replace("o '1'", "o '3'"),
                " config a 'x'\n-\toption o '1'\n+\toption o '3'\n config b 'y'\n-\toption o '1'\n+\toption o '3'\n",
            ),
        ] {
            assert_eq!(of_sections(before, &after), shown, "{after}");
        }
        // Too much to be compared: gone and come, and nothing lost.
        let many = |n: u32| (0..3000).map(|i| format!("\toption o{i} '{n}'\n")).collect::<String>();
        let shown = of_sections(&many(1), &many(2));
        assert_eq!((shown.matches("\n-").count() + 1, shown.matches("\n+").count()), (3000, 3000));
    }
}
