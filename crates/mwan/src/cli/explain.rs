//! `mwan explain`: why a packet leaves where it leaves.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;

use mwan_api::{ExplainQuery, Look, Request, Response};

use super::args::ExplainArgs;
use super::commands::view;
use super::{Exit, Failure, client, talk};
use crate::daemon;
use crate::show::{plain, show};

/// Explains a packet or a connection.
pub(super) fn run(run_dir: &Path, args: ExplainArgs) -> Result<Exit, Failure> {
    let to = args.to.map(|to| looked_up(to, args.family.as_deref())).transpose()?;
    let query = ExplainQuery {
        from: args.from,
        to,
        input: args.input,
        family: args.family,
        sport: args.sport,
        flow: args.flow,
        verify: args.verify,
    };
    let view = view(Look::Whole, args.json);
    let Some(file) = &args.config else { return client::show(run_dir, Request::Explain(query), view) };
    let (name, bytes) = daemon::read_config(file)?;
    let explanation = daemon::explain_without_daemon(&name, &bytes, args.platform, query)?;
    client::say(show(Response::Explanation(Box::new(explanation)), view)?)
}

/// With the address of a name in its place. Anything else is left to whoever reads it.
fn looked_up(to: String, family: Option<&str>) -> Result<String, Failure> {
    let (end, protocol) = match to.rsplit_once('/') {
        Some((end, protocol)) => (end, format!("/{protocol}")),
        None => (to.as_str(), String::new()),
    };
    let (name, port) = match end.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') => (name, Some(port)),
        _ => (end, None),
    };
    let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
        && name.bytes().any(|b| b.is_ascii_alphabetic());
    if !is_name {
        return Ok(to);
    }
    let wanted = |socket: &SocketAddr| match family {
        Some("ipv4") => socket.is_ipv4(),
        Some("ipv6") => socket.is_ipv6(),
        _ => true,
    };
    let unknown =
        |e| Failure::new(format!("cannot look up {}", plain(name)), &e).hint("give an address instead");
    let mut found = (name, 0).to_socket_addrs().map_err(unknown)?;
    let Some(found) = found.find(wanted) else {
        let family = family.unwrap_or_default();
        return Err(Failure::says(format!("{} has no address of {family}", plain(name))));
    };
    talk(&format!("{} is {}", plain(name), found.ip()));
    Ok(match port {
        Some(port) if found.is_ipv6() => format!("[{}]:{port}{protocol}", found.ip()),
        Some(port) => format!("{}:{port}{protocol}", found.ip()),
        None => format!("{}{protocol}", found.ip()),
    })
}
