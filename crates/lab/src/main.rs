//! Whole networks out of namespaces on one machine, driving the real mwan.

fn main() {}
