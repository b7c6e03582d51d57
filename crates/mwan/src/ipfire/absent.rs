//! What stands for IPFire in a build without it: routers with little flash do not pay for what they cannot use.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mwan_api::Red;
use mwan_config::Config;
use mwan_config::ipfire::Files;
use mwan_core::{Core, PlatformView};

/// There is none.
pub(crate) enum Ipfire {}

impl Ipfire {
    /// Says so where one is asked for.
    pub(crate) fn start(_: &Config, file: &Path, _: &Path) -> std::io::Result<Option<Self>> {
        match file.ends_with("mwan/settings") {
            true => Err(std::io::Error::other("this build is without IPFire (feature `ipfire`)")),
            false => Ok(None),
        }
    }

    pub(crate) fn first(&mut self) -> Arc<PlatformView> {
        match *self {}
    }

    pub(crate) fn configure(&mut self, _: &Config) -> Option<Arc<PlatformView>> {
        match *self {}
    }

    pub(crate) async fn next(&mut self) -> Option<Arc<PlatformView>> {
        match *self {}
    }

    pub(crate) fn look(&mut self, _: &Core) -> Option<Arc<PlatformView>> {
        match *self {}
    }

    pub(crate) fn red(&self) -> Red {
        match *self {}
    }
}

/// None is IPFire's.
pub(crate) fn root_of(_: &Path) -> Option<Infallible> {
    None
}

pub(crate) fn read_files(root: Infallible, _: &[u8]) -> Files {
    match root {}
}

/// There are no such files.
pub(crate) fn keep_files(_: &Files, _: &Path) -> std::io::Result<()> {
    Ok(())
}

pub(crate) fn kept_settings(_: &Path) -> Option<PathBuf> {
    None
}

pub(crate) fn watched(root: Infallible) -> Vec<PathBuf> {
    match root {}
}

pub(crate) fn plan_view(_: &Config) -> Option<Arc<PlatformView>> {
    None
}
