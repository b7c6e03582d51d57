//! Whole networks out of namespaces on one machine, driving the real `mwan`: topologies and scenarios are
//! text files, faults are injected in the provider, flows are real, and every provider's wire is captured.
//!
//! Nothing here touches the namespace the program was started in; everything vanishes with the process.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod answers;
pub mod bench;
pub mod build;
pub mod capture;
pub mod catchers;
pub mod daemon;
pub mod delay;
pub mod demo;
mod expect;
pub mod faults;
pub mod flows;
pub mod lab;
pub mod netns;
pub mod report;
pub mod responders;
pub mod run;
pub mod scenario;
pub mod stats;
pub mod sys;
pub mod topology;
