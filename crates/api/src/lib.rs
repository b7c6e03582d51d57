//! The wire types of mwan's control socket and --json output.
