//! JSON is rewritten string by string: an escape in a string would else stand in front of an address, and a secret could be written
//! in several ways. Order and layout stay, and so do numbers that say nothing.

/// `text`, with `change` done to every string, and everything hidden that stands under a key that `is_secret`. What is between
/// strings and is no JSON (a log has other lines, too) is changed like a string.
pub(super) fn rewrite(
    text: &str,
    hidden: &str,
    is_secret: &dyn Fn(&str) -> bool,
    change: &mut dyn FnMut(&str) -> String,
) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    // What is open, and at which depth something secret began.
    let (mut depth, mut secret) = (0usize, None);
    loop {
        let (between, behind) = rest.split_at(rest.find('"').unwrap_or(rest.len()));
        fill(&mut out, between, &mut depth, &mut secret, change);
        if behind.is_empty() {
            return out;
        }
        let Some((word, behind)) = string(behind) else {
            out.push_str(&change(behind));
            return out;
        };
        rest = behind;
        let is_key = behind.trim_start().starts_with(':');
        let shown = if secret.is_some() && !is_key { hidden.to_owned() } else { change(&word) };
        out.push_str(&quoted(&shown));
        if is_key && secret.is_none() && is_secret(&word) {
            secret = Some(depth);
        }
    }
}

/// Writes what is between two strings.
fn fill(
    out: &mut String,
    between: &str,
    depth: &mut usize,
    secret: &mut Option<usize>,
    change: &mut dyn FnMut(&str) -> String,
) {
    if !is_json(between) {
        out.push_str(&change(between));
        return;
    }
    for token in tokens(between) {
        match token {
            "{" | "[" => *depth += 1,
            "}" | "]" => *depth = depth.saturating_sub(1),
            _ => {}
        }
        // A value ends with a comma beside its key, or with what is around it.
        if secret.is_some_and(|at| (token == "," && *depth == at) || *depth < at) {
            *secret = None;
        }
        let is_number = token.starts_with(|c: char| c.is_ascii_digit() || c == '-');
        let shown = if is_number { change(token) } else { token.to_owned() };
        match (is_number, secret.is_some()) {
            (true, true) => out.push('0'),
            // A number that is a secret becomes a string.
            (true, false) if shown != token => out.push_str(&quoted(&shown)),
            _ => out.push_str(token),
        }
    }
}

/// Whether there is nothing but signs, numbers and the three words. Two colons there are only in an address.
fn is_json(between: &str) -> bool {
    let good = |token: &str| {
        token.trim().is_empty()
            || ["{", "}", "[", "]", ",", ":", "true", "false", "null"].contains(&token)
            || (token.starts_with(|c: char| c.is_ascii_digit() || c == '-') && token.parse::<f64>().is_ok())
    };
    between.matches(':').count() < 2 && tokens(between).all(good)
}

/// Signs, each by itself, and what is between them.
fn tokens(text: &str) -> impl Iterator<Item = &str> {
    let sign = |c: char| "{}[],:".contains(c) || c.is_ascii_whitespace();
    text.split_inclusive(sign).flat_map(move |piece| {
        let end =
            piece.char_indices().next_back().filter(|(_, c)| sign(*c)).map_or(piece.len(), |(at, _)| at);
        let (word, sign) = piece.split_at(end);
        [word, sign].into_iter().filter(|part| !part.is_empty())
    })
}

fn quoted(text: &str) -> String {
    serde_json::Value::String(text.to_owned()).to_string()
}

/// The string a text begins with, and what is behind it.
fn string(text: &str) -> Option<(String, &str)> {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(_, c)| {
        let ends = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        ends
    })?;
    let (word, behind) = text.split_at(end.0 + 1);
    Some((serde_json::from_str(word).ok()?, behind))
}
