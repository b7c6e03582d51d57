//! What is run of a folder of hooks, and how: IPFire's `run_subdir`.

use mwan_config::ipfire::order::versions;

/// One call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Call {
    /// Name of the file in its folder.
    pub file: String,
    /// The one argument, if its name says so.
    pub argument: Option<&'static str>,
}

/// The calls for the files of a folder, in the order of `ls -v`. IPFire takes the field after the *first* hyphen for the
/// action, so that `10-S` is called with `start`; the document's `NN-service-action` means the last one. Both are understood.
pub fn order<'a>(files: impl IntoIterator<Item = &'a str>) -> Vec<Call> {
    let mut names: Vec<&str> = files.into_iter().filter(|name| !name.starts_with('.')).collect();
    names.sort_by(|a, b| versions(a, b));
    names.into_iter().map(|name| Call { file: name.to_owned(), argument: argument(name) }).collect()
}

fn argument(name: &str) -> Option<&'static str> {
    let (_, rest) = name.split_once('-')?;
    let mut fields = rest.split('-');
    fields.next().and_then(word).or_else(|| fields.next_back().and_then(word))
}

fn word(field: &str) -> Option<&'static str> {
    Some(match field {
        "S" => "start",
        "K" => "stop",
        "RS" => "restart",
        "RL" => "reload",
        "U" => "up",
        "D" => "down",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_that_of_ls_v_and_the_suffix_is_the_argument() {
        let calls = order([
            "99-fireinfo",
            "100-late",
            "05-dns-U",
            "9-early-RL",
            "10-S",
            ".hidden",
            "20-firewall",
            "10-a-b-K",
            "30-x-RS",
            "31-x-D",
        ]);
        let told: Vec<(&str, Option<&str>)> = calls.iter().map(|c| (c.file.as_str(), c.argument)).collect();
        assert_eq!(
            told,
            [
                ("05-dns-U", Some("up")),
                ("9-early-RL", Some("reload")),
                ("10-S", Some("start")),
                ("10-a-b-K", Some("stop")),
                ("20-firewall", None),
                ("30-x-RS", Some("restart")),
                ("31-x-D", Some("down")),
                ("99-fireinfo", None),
                ("100-late", None),
            ]
        );
    }
}
