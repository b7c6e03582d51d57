//! Connections that have to be brought up before packets can use them: PPPoE, PPTP, modems, leases, addresses.
//!
//! Pure: no process, file or clock. A driver turns a [`Link`](mwan_config::link::Link) into a [`Plan`]: programs of the
//! platform with their arguments as arrays, and files for what must not be in an argument. A [`Dialler`] is the state machine
//! of one link, with its back-off and its limits. Who owns the processes runs the plans and reports what came of them.

mod dialler;
mod drivers;
mod outcome;
mod plan;
pub mod qmi;
mod sim;
mod udhcpc;

pub use dialler::{Action, Dialler, Event, Phase};
pub use drivers::{Dhcp, Places, Role, plan, qmi_settings, qmi_started};
pub use outcome::{Established, Failure, established, failure};
pub use plan::{Plan, Ready, Step};
pub use sim::{Pin, SIM_ASKS, pin_of, sim_asks};
pub use udhcpc::Lease;
