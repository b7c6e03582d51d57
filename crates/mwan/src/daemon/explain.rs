//! Why a packet goes where it goes: what is asked becomes a packet that can exist, the pure walk explains it, and the kernel is
//! asked for what it alone knows. All of it is done in a thread, with the decisions of one moment.

mod document;
mod facts;
mod flow;
mod packet;
mod verify;

use mwan_config::Gather;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use mwan_api as api;
use mwan_api::{ExplainQuery, Response};
use mwan_config::Family;
use mwan_core::{Address, Core, Event, Explainer, Lead, Memory, NetView, Packet};
use mwan_linux::clock;
use mwan_linux::lookup::{Lookup, Question, Route};
use mwan_linux::monitor::Monitor;
use mwan_linux::nft::NftSocket;

use super::answer::{error_response, in_thread};
use super::flow_list::Names;
use super::reload::Reply;
use super::{Daemon, parse_config};
use crate::cli::Failure;
use crate::platform::PlatformName;
pub(super) use document::member_text;

use document::MainRoute;
use facts::Sets;
use packet::Described;

impl Daemon {
    /// Answers in a while.
    pub(super) fn explain(&mut self, query: ExplainQuery, reply: Reply) {
        match self.explain_job(query) {
            Ok(job) => in_thread("explain", "explains", reply, move |_| job.answer()),
            Err(failure) => drop(reply.send(error_response(failure))),
        }
    }

    fn explain_job(&self, query: ExplainQuery) -> Result<Job, Failure> {
        let mut job = Job::new(&self.core, query, Where::Here)?;
        let wanted = self.core.desired().map(|desired| desired.generation);
        if self.writer.committed().map(|desired| desired.generation) != wanted {
            job.notes.push("the kernel does not have the latest decisions yet: see `mwan diff`".to_owned());
        }
        Ok(job)
    }
}

/// Explains by a configuration alone, as if every WAN were online.
pub(crate) fn explain_without_daemon(
    name: &str,
    bytes: &[u8],
    platform: PlatformName,
    query: ExplainQuery,
) -> Result<api::Explanation, Failure> {
    let loaded = parse_config(name, bytes);
    let net = network()?;
    let mut core = Core::new(platform.core(), Arc::new(loaded.config), Memory::default());
    core.handle(clock::now(), Event::Network(net));
    let mut job = Job::new(&core, query, Where::Nowhere)?;
    job.explainer.assume_online();
    job.notes.push(
        "no daemon is asked: every WAN is taken for online, and sets for what the configuration lists"
            .to_owned(),
    );
    match job.answer()? {
        Response::Explanation(explanation) => Ok(*explanation),
        _ => Err(Failure::says("a live connection is explained by the daemon")),
    }
}

/// This machine's; who may not read it, or has none of the router's devices, still gets the rules explained.
fn network() -> Result<Arc<NetView>, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::new("cannot start the runtime", &e))?;
    let view = runtime.block_on(async { Monitor::open(Vec::new()).map(|mut monitor| monitor.view()) });
    Ok(view.unwrap_or_default())
}

/// The device of what does not leave.
const LOOPBACK: &str = "lo";

/// Whether the kernel is asked, too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Where {
    Here,
    Nowhere,
}

/// Everything an answer is made of.
struct Job {
    explainer: Explainer,
    query: ExplainQuery,
    /// Device of the interface that was named.
    input: Option<String>,
    names: Names,
    notes: Vec<String>,
    kernel: Where,
}

impl Job {
    fn new(core: &Core, query: ExplainQuery, kernel: Where) -> Result<Self, Failure> {
        let explainer = core.explainer().ok_or_else(|| Failure::says("the network has not been seen yet"))?;
        let mut notes = Vec::new();
        if explainer.desired.off {
            notes.push("mwan is switched off (enabled '0'): the main table decides alone".to_owned());
        }
        let waiting = core.waiting_rules();
        if !waiting.is_empty() {
            let names: Vec<_> = waiting.iter().map(|(rule, _)| rule.name.as_str()).take(5).collect();
            let more = if waiting.len() > names.len() { ", …" } else { "" };
            let text = format!("not asked, as they wait for their interface: {}{more}", names.join(", "));
            notes.push(text);
        }
        // Of a router that is elsewhere not every device is known.
        let other = |name: &String| Some(name.clone()).filter(|_| kernel == Where::Nowhere);
        let device =
            |name: &String| core.device(name).or_else(|| other(name)).ok_or_else(|| no_interface(core, name));
        let input = query.input.as_ref().map(device).transpose()?;
        if input.is_some() && query.from.is_none() {
            return Err(Failure::says("a packet that comes in has a source").hint("add --from ADDRESS"));
        }
        Ok(Job { explainer, query, input, names: Names::new(core), notes, kernel })
    }

    /// The answer.
    fn answer(mut self) -> Result<Response, Failure> {
        if let Some(words) = self.query.flow.take() {
            return flow::explain(self, &words);
        }
        let described = Described::read(&self.query)?;
        let mut lookup = self.lookup()?;
        let packet = self.locate(&described, lookup.as_mut())?;
        let mut explanation = self.explain(&packet, lookup.as_mut())?;
        if let Some(lookup) = lookup.as_mut().filter(|_| self.query.verify) {
            explanation.verified = Some(verify::verify(&mut self, &packet, &explanation, lookup)?);
        }
        Ok(Response::Explanation(Box::new(explanation)))
    }

    fn lookup(&self) -> Result<Option<Lookup>, Failure> {
        let open = || Lookup::open().map_err(|e| Failure::new("cannot ask the kernel's routing", &e));
        (self.kernel == Where::Here).then(open).transpose()
    }

    /// The whole packet: its source and the device it comes in by.
    fn locate(&mut self, described: &Described, lookup: Option<&mut Lookup>) -> Result<Packet, Failure> {
        let Some(source) = described.source else {
            let source = self.own_source(described, lookup)?;
            return Ok(described.packet(source, None));
        };
        if let Some(why) = impossible(&self.explainer, source, described.destination, self.input.as_deref()) {
            return Err(packet::no_packet(why));
        }
        if self.explainer.is_own(source) {
            return Ok(described.packet(source, None));
        }
        let input = match self.input.clone() {
            Some(device) => device,
            None => self.arrives_by(source, lookup)?,
        };
        Ok(described.packet(source, Some(input)))
    }

    /// The source the kernel gives to a socket that did not choose one: by the first routing decision, before the mark.
    fn own_source(&mut self, described: &Described, lookup: Option<&mut Lookup>) -> Result<IpAddr, Failure> {
        let destination = described.destination;
        let question = Question { destination, source: None, mark: 0, input: None };
        let chosen = lookup.map(|lookup| lookup.ask(&question));
        if let Some(Ok(Route { source: Some(source), .. })) = chosen {
            return Ok(source);
        }
        let family = Family::of(destination);
        let any = self.explainer.net.links.values().find_map(|link| link.source(family));
        let any = any.ok_or_else(|| {
            Failure::says(format!("this machine has no address of {family}")).hint("add --from ADDRESS")
        })?;
        self.notes.push(match chosen {
            Some(Err(error)) => format!(
                "without a mark this machine has no route there ({error}): a program that does not bind fails before mwan sees its packet"
            ),
            _ => format!("its source is taken to be {any}"),
        });
        Ok(any)
    }

    /// The device by which a source's packets come in.
    fn arrives_by(&mut self, source: IpAddr, lookup: Option<&mut Lookup>) -> Result<String, Failure> {
        if let Some(device) = self.explainer.arrives_by(source) {
            return Ok(device.to_owned());
        }
        let question = Question { destination: source, source: None, mark: 0, input: None };
        let route = lookup.and_then(|lookup| lookup.ask(&question).ok());
        let device = route.and_then(|route| self.name_of(route.device?));
        if let Some(device) = &device {
            self.notes.push(format!("it is taken to come in by {device}, by which {source} is reached"));
        }
        device.ok_or_else(|| {
            Failure::says(format!("it is not known by which device packets from {source} come in"))
                .hint("say it: --in DEVICE")
        })
    }

    fn name_of(&self, index: u32) -> Option<String> {
        let links = self.explainer.net.links.iter();
        links.filter(|(_, link)| link.index == index).map(|(name, _)| name.clone()).next()
    }

    fn explain(&mut self, packet: &Packet, lookup: Option<&mut Lookup>) -> Result<api::Explanation, Failure> {
        let open = || NftSocket::open().map_err(|e| Failure::new("cannot open nf_tables", &e));
        let kernel = (self.kernel == Where::Here).then(open).transpose()?;
        let explainer = self.explainer.clone();
        let sets = Sets::new(&explainer, kernel);
        let found = explainer.explain(packet, &sets);
        let mut main = MainRoute::default();
        if let (Some(way), Some(lookup)) = (found.ways.iter().find(|way| way.lead == Lead::Main), lookup) {
            main = self.main_route(packet, way.mark, lookup);
        }
        let mut notes = std::mem::take(&mut self.notes);
        notes.extend(sets.missing());
        Ok(document::document(&explainer, packet, &found, &main, notes))
    }

    /// What the kernel's routing says of a packet that is not for a table of ours.
    fn main_route(&mut self, packet: &Packet, mark: u32, lookup: &mut Lookup) -> MainRoute {
        if packet.input.is_some() && packet.destination.is_multicast() {
            let group = packet.destination;
            let note = format!(
                "{group} is a multicast group: the packet ends here, unless a multicast router forwards it"
            );
            self.notes.push(note);
            return MainRoute { device: Some(LOOPBACK.to_owned()), ..MainRoute::default() };
        }
        let index = |device: &String| self.explainer.net.links.get(device).map(|link| link.index);
        let input = packet.input.as_ref().and_then(index);
        // An input device that is not there cannot be asked for.
        let source = Some(packet.source).filter(|_| input.is_some() || packet.input.is_none());
        match lookup.ask(&Question { destination: packet.destination, source, mark, input }) {
            Ok(route) => {
                let end = ends_here(&route, packet);
                let device = route.device.and_then(|index| self.name_of(index));
                let device = if end.is_some() { Some(LOOPBACK.to_owned()) } else { device };
                self.notes.extend(end);
                let table = Some(route.table).filter(|table| *table != 0);
                MainRoute { device, gateway: route.gateway, table }
            }
            Err(error) => {
                self.notes.push(format!("the kernel does not route it: {error}"));
                MainRoute::default()
            }
        }
    }
}

/// Why a packet does not leave.
fn ends_here(route: &Route, packet: &Packet) -> Option<String> {
    let what = match packet.input {
        _ if route.is_local() => "this machine's own: the packet ends here",
        Some(_) if route.is_broadcast() => "a broadcast address: the packet ends here",
        _ => return None,
    };
    Some(format!("{} is {what}", packet.destination))
}

/// What no wire can have brought, by the addresses and the device.
fn impossible(
    explainer: &Explainer,
    source: IpAddr,
    destination: IpAddr,
    input: Option<&str>,
) -> Option<String> {
    let own = explainer.is_own(source);
    if own && let Some(device) = input.filter(|device| *device != LOOPBACK) {
        let device = device.escape_debug();
        return Some(format!(
            "{source} is this machine's own address, its packets do not come in by {device}; leave --in away"
        ));
    }
    let nets = explainer.net.links.values().flat_map(|link| &link.addresses);
    let mut nets = nets.filter(|a| a.ip.is_ipv4() && a.prefix_len < 31);
    let is_broadcast = |a: &Address| IpNet::new(a.ip, a.prefix_len).is_ok_and(|n| n.broadcast() == source);
    let stays = |ip: IpAddr| {
        format!("{ip} is a loopback address, with which nothing goes from one machine to another")
    };
    match () {
        () if !own && destination.is_loopback() => Some(stays(destination)),
        () if source.is_loopback() && !explainer.is_own(destination) => Some(stays(source)),
        () if !own && input == Some(LOOPBACK) => {
            Some(format!("only this machine's own packets come in by {LOOPBACK}"))
        }
        () if nets.any(is_broadcast) => Some(format!("{source} is a broadcast address")),
        () => None,
    }
}

fn no_interface(core: &Core, name: &str) -> Failure {
    let wans = core.config().interfaces.iter().filter(|i| i.enabled).map(|i| i.name.as_str());
    let devices = core.network().into_iter().flat_map(|net| net.links.keys()).map(String::as_str);
    let known: std::collections::BTreeSet<&str> = wans.chain(devices).gather();
    let known: Vec<&str> = known.into_iter().take(20).collect();
    Failure::says(format!("there is no interface or device '{}'", name.escape_debug()))
        .hint(format!("there are: {}", known.join(", ")))
}
