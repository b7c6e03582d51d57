//! The order of `ls -v`, in which IPFire runs what is in a folder.

use std::cmp::Ordering;

/// Compares two names as `ls -v` does (strverscmp-like, as gnulib's `filevercmp` for plain names): runs of digits as numbers.
pub fn versions(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a.as_bytes(), b.as_bytes());
    loop {
        let words = (run(left, false), run(right, false));
        let by_word = words.0.cmp(words.1);
        if by_word != Ordering::Equal {
            return by_word;
        }
        (left, right) = (&left[words.0.len()..], &right[words.1.len()..]);
        let numbers = (run(left, true), run(right, true));
        let by_number = number(numbers.0).cmp(&number(numbers.1));
        if by_number != Ordering::Equal {
            return by_number;
        }
        (left, right) = (&left[numbers.0.len()..], &right[numbers.1.len()..]);
        if left.is_empty() && right.is_empty() {
            // 07 and 7: equal as numbers, and still in one order.
            return a.cmp(b);
        }
    }
}

fn run(text: &[u8], digits: bool) -> &[u8] {
    let end = text.iter().position(|b| b.is_ascii_digit() != digits).unwrap_or(text.len());
    &text[..end]
}

/// Its size without leading zeros, then its digits: as large as it likes.
fn number(digits: &[u8]) -> (usize, &[u8]) {
    let zeros = digits.iter().take_while(|b| **b == b'0').count();
    (digits.len() - zeros, &digits[zeros..])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn numbers_count_as_numbers() {
        let mut names = ["100-z", "10-b-S", "9-a", "10-a", "99-x-K", "05-u", "5-u", "a10", "a9", "README"];
        names.sort_by(|a, b| versions(a, b));
        assert_eq!(names, ["05-u", "5-u", "9-a", "10-a", "10-b-S", "99-x-K", "100-z", "README", "a9", "a10"]);
    }

    #[test]
    fn it_is_an_order() {
        let names = ["", "1", "01", "001", "a", "a1", "a01", "a1b", "a01b", "ab", "1a", "z9", "z10"];
        for a in names {
            assert_eq!(versions(a, a), Ordering::Equal);
            for b in names {
                assert_eq!(versions(a, b), versions(b, a).reverse(), "{a} {b}");
                for c in names {
                    if versions(a, b) == Ordering::Less && versions(b, c) == Ordering::Less {
                        assert_eq!(versions(a, c), Ordering::Less, "{a} {b} {c}");
                    }
                }
            }
        }
    }
}
