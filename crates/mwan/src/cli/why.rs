//! `mwan why`: why something is as it is.

use std::path::Path;

use mwan_api::Request;

use super::{Exit, Failure, client, print};

/// Asks, and prints.
pub(super) fn run(run_dir: &Path, name: String, json: bool) -> Result<Exit, Failure> {
    let said = client::ask_in_words(run_dir, &Request::Why { name })?;
    print(&if json { said.json() } else { said.text })?;
    Ok(Exit::Ok)
}
