//! Taking over IPFire's RED, and giving it back.
//!
//! Pure: no file, process or clock. [`Manager`] is told which paths work and what became of links and batches; it wants links
//! dialled or dropped, and [`Batch`]es carried out: lists of steps on files and programs, each of which may be repeated
//! without harm, so that a crash at any of them is mended by doing the batch again.

mod announce;
mod batch;
mod hooks;
mod manager;
pub mod package;
mod pins;

pub use batch::{
    About, Batch, Kind, RED_FILES, RedFiles, STATE, Step, bring_up, give_back, kept, kept_files, release,
    take_over, tidy_after_boot,
};
pub use hooks::{Call, order};
pub use manager::{CHOSEN, Command, Event, Left, Manager, PathView, REFUSED, State, View, Wish};
pub use pins::Refusals;
