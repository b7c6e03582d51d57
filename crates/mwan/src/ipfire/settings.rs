//! The one word of the settings that is changed for the owner.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use mwan_config::ipfire::set_value;

/// Whether mwan is switched on in the settings below `root` (`/var/ipfire`).
pub(crate) fn is_enabled(root: &Path) -> bool {
    let settings = fs::read(root.join("mwan/settings")).unwrap_or_default();
    let config = mwan_config::parse_ipfire(&super::read_files(root, &settings)).config;
    config.site.is_some() && config.globals.enabled
}

/// Sets `ENABLED` or `MWAN_ENABLED`, whichever the settings have; everything else stays as it is.
///
/// # Errors
/// The file cannot be written, or RED could not be given back once mwan is switched off.
pub(crate) fn set_enabled(root: &Path, value: bool) -> io::Result<()> {
    if !value {
        super::check(root)?;
    }
    let file = root.join("mwan/settings");
    let text = match fs::read(&file) {
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        other => other?,
    };
    let several =
        text.split(|b| *b == b'\n').any(|line| line.trim_ascii_start().starts_with(b"MWAN_ENABLED="));
    let key = if several { "MWAN_ENABLED" } else { "ENABLED" };
    let changed = set_value(&text, key, if value { "on" } else { "off" });
    super::folder::write(root, Path::new("mwan/settings"), 0o644, &changed)
}
