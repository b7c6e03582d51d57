//! Multi-WAN manager: daemon and command line.

fn main() {}
