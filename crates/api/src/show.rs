//! Answers as text, for a command line that reads none of them itself.

use serde::{Deserialize, Serialize};

wire! {
/// How an answer is to be shown.
#[derive(Copy)]
pub struct View {
    /// Which part of it.
    pub look: Look,
    /// As JSON, where there is a document for that part.
    #[serde(default)]
    pub json: bool,
    /// In the words of a package that this one replaces: its status.
    #[serde(default)]
    pub package: Option<Package>,
}

/// A part of an answer.
#[derive(Copy)]
pub enum Look {
    /// All of it.
    Whole,
    /// Of a status: the interfaces.
    Interfaces,
    /// Of a status: the policies.
    Policies,
    /// Of a status: the networks that are left alone.
    Connected,
    /// Of a status: the rules.
    Rules,
    /// Of a plan: what differs in the kernel; that something does is worth an exit code.
    Difference,
    /// Of a plan: what would change in the kernel, and for connections.
    Changes,
    /// Of a plan: what it means for connections, in a line.
    Impact,
    /// A report as a page of HTML.
    Page,
}

/// A package whose command is imitated.
#[derive(Copy)]
pub enum Package {
    /// mwan3.
    Mwan3,
    /// mwan4.
    Mwan4,
}

/// What a command says.
pub struct Shown {
    /// To be printed.
    pub text: String,
    /// What else there is to say, a line each.
    pub notes: Vec<String>,
    /// The exit code, if `error` is absent.
    pub exit: u8,
    /// Why it is a failure although there is something to be printed.
    #[serde(default)]
    pub error: Option<String>,
    /// What to do about that.
    #[serde(default)]
    pub hint: Option<String>,
}
}
