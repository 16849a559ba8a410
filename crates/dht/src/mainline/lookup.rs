use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use wire::Id;
use wire::krpc::{Family, Method, Nodes, Query, Response, Want};

use super::ask::{Answered, Owner};
use super::config::Binding;
use super::event::Walked;
use super::{Mainline, Stack};
use crate::block::{Block, is_nowhere, is_public};
use crate::hyper::OperationId;
use crate::table::K;
use crate::walk::{Manner, Walk, WalkFigures};

/// Queries that one look-up may make; an honest one on a network of millions needs about sixty.
const REQUESTS_MAX: u64 = 384;
/// Nodes taken from one answer; more than a table's row nobody has a reason to name.
const NAMED_MAX: usize = K;
/// Answers wanted from nodes whose id does not belong to their address: as many as BEP 5 stores at.
const DOUBTFUL_WIDTH: usize = 8;
/// Estimated nodes above which a look-up takes several ways.
const LARGE_NETWORK: u64 = 50_000;
/// How many then.
const PATHS_LARGE: usize = 4;
/// Bytes of a token of others that are kept.
const TOKEN_MAX: usize = 64;
/// What is assumed of a node of which only the address is known: it may be anywhere.
const FARTHEST: Id<20> = Id([0xff; 20]);

/// Names a running look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LookupId(pub(super) u64);

/// Who wants the result of a look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Operation(OperationId),
    Bootstrap,
    Refresh,
}

/// What a look-up asks each node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    Nodes,
    Peers,
    Value,
}

/// A node that answered a look-up.
#[derive(Clone, Debug)]
pub(super) struct Responder {
    pub(super) id: Id<20>,
    pub(super) addr: SocketAddr,
    pub(super) token: Option<Box<[u8]>>,
}

type Path = Walk<20, Responder, SocketAddr>;

/// One or several walks to one target that share no node, and take one node of a network block.
#[derive(Debug)]
pub(super) struct Lookup {
    pub(super) family: Family,
    target: Id<20>,
    question: Question,
    purpose: Purpose,
    /// The last one is for nodes whose id does not belong to their address, where these are only tolerated.
    paths: Vec<Path>,
    tolerant: bool,
    /// Who was asked, by what counts as one owner, and in which walk.
    owners: BTreeMap<Place, (SocketAddr, usize)>,
    figures: WalkFigures,
    started: Instant,
    first_peer: Option<(std::time::Duration, u64)>,
    dealt: usize,
}

/// What counts as one owner's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Block(Block),
    Address(SocketAddr),
}

impl Lookup {
    fn deal(&mut self) -> usize {
        self.dealt += 1;
        self.dealt % self.trusted()
    }

    const fn trusted(&self) -> usize {
        if self.tolerant { self.paths.len() - 1 } else { self.paths.len() }
    }

    /// Offers a node to a walk, or to the one for doubtful nodes.
    fn offer(
        &mut self,
        (stack, binding): (&Stack, Binding),
        path: usize,
        (id, addr): (Id<20>, SocketAddr),
        by: Option<(SocketAddr, u32)>,
    ) {
        let trusted = stack.contacts.is_trusted(&id, &addr);
        if !trusted && binding == Binding::Required {
            return;
        }
        let path = match self.tolerant.then(|| self.trusted()) {
            Some(doubtful) if !trusted => doubtful,
            Some(doubtful) if path == doubtful => self.deal(),
            Some(_) | None => path,
        };
        match by {
            Some((by, depth)) => drop(self.paths[path].refer(addr, &id, by, depth)),
            None => self.paths[path].add_seed(addr, &id),
        }
    }

    fn is_done(&self) -> bool {
        let found = self.figures.responses > 0;
        self.paths.iter().all(|path| path.is_done() || found && path.is_empty() && path.is_stuck())
            || self.figures.requests >= REQUESTS_MAX && self.paths.iter().all(|path| path.brisk() == 0)
    }
}

impl Mainline {
    /// Starts a look-up in one internet.
    pub(super) fn look_up(
        &mut self,
        now: Instant,
        (family, target): (Family, Id<20>),
        question: Question,
        purpose: Purpose,
    ) -> Option<LookupId> {
        let (limits, binding) = (&self.config.limits, self.config.binding);
        let stack = self.stack(family)?;
        let size = stack.network_size();
        let ways = self
            .config
            .paths
            .unwrap_or_else(|| if size.is_some_and(|size| size > LARGE_NETWORK) { PATHS_LARGE } else { 1 });
        let width = limits.width.div_ceil(ways);
        // So near to the target should the first half of the result lie in a network of this size.
        let region =
            size.filter(|size| *size > limits.width as u64).map(|size| radius(limits.width / 2, size));
        let manner = Manner { width, awaited: 1, awaited_sparse: 2, branches: 0, region };
        let tolerant = binding == Binding::Preferred;
        let mut paths: Vec<Path> = (0..ways).map(|_| Walk::with_manner(target, manner)).collect();
        if tolerant {
            let width = DOUBTFUL_WIDTH.min(limits.width);
            paths
                .push(Walk::with_manner(target, Manner { width, region: None, awaited_sparse: 1, ..manner }));
        }
        let mut lookup = Lookup {
            family,
            target,
            question,
            purpose,
            paths,
            tolerant,
            owners: BTreeMap::new(),
            figures: WalkFigures::default(),
            started: now,
            first_peer: None,
            dealt: 0,
        };
        let mut known = 0;
        for contact in stack.contacts.closest(&target) {
            let path = lookup.deal();
            lookup.offer((stack, binding), path, (contact.id, contact.addr), None);
            known += 1;
        }
        if known < K {
            for addr in &stack.seeds {
                let unknown = FARTHEST.distance(&target);
                let path = lookup.deal();
                lookup.paths[path].add_seed(*addr, &unknown);
            }
        }
        self.serial += 1;
        let id = LookupId(self.serial);
        self.lookups.insert(id, lookup);
        self.stats.lookups += 1;
        self.pump_lookup(now, id);
        Some(id)
    }

    /// Sends what a look-up may send now, and ends it if nothing is left to wait for.
    pub(super) fn pump_lookup(&mut self, now: Instant, id: LookupId) {
        let Some(mut lookup) = self.lookups.remove(&id) else { return };
        let share = self.config.limits.concurrency.div_ceil(lookup.trusted());
        for path in 0..lookup.paths.len() {
            let few = lookup.tolerant && path == lookup.trusted();
            let concurrency = if few { share.min(4) } else { share };
            while lookup.figures.requests < REQUESTS_MAX
                && let Some(addr) = lookup.paths[path].next(concurrency)
            {
                let place = self.place(&addr);
                if lookup.owners.contains_key(&place) {
                    lookup.paths[path].forget(addr);
                    continue;
                }
                let query = self.lookup_query(&lookup);
                if self.ask(now, addr, &query, Owner::Lookup(id)) {
                    lookup.owners.insert(place, (addr, path));
                    lookup.figures.requests += 1;
                } else {
                    lookup.paths[path].fail(addr);
                }
            }
        }
        let done = lookup.is_done();
        self.lookups.insert(id, lookup);
        if done {
            self.end_lookup(now, id);
        }
    }

    fn lookup_query(&self, lookup: &Lookup) -> Query<'static> {
        let method = match lookup.question {
            Question::Nodes => Method::FindNode,
            Question::Peers => Method::GetPeers,
            Question::Value => Method::Get,
        };
        let want = self.want(lookup.family);
        Query { target: Some(lookup.target), want, ..self.query(lookup.family, method) }
    }

    /// The families wanted from a node; of its own, it tells unasked.
    fn want(&self, family: Family) -> Option<Want> {
        let both = self.stacks.iter().all(Option::is_some);
        let sparse = |family| self.stack(family).is_some_and(|stack| stack.contacts.table().len() < K);
        let other = if family == Family::V4 { Family::V6 } else { Family::V4 };
        (both && sparse(other)).then_some(Want { v4: true, v6: true })
    }

    fn place(&self, addr: &SocketAddr) -> Place {
        if self.config.diversity.counts(addr) {
            Place::Block(Block::of(addr.ip()))
        } else {
            Place::Address(*addr)
        }
    }

    pub(super) fn lookup_answered(&mut self, now: Instant, id: LookupId, answered: &Answered<'_>) {
        let place = self.place(&answered.from);
        let Some(mut lookup) = self.lookups.remove(&id) else { return };
        let Some((_, path)) = lookup.owners.get(&place).copied() else { return };
        lookup.figures.responses += 1;
        let Ok(response) = answered.result else {
            lookup.paths[path].answer(answered.from, None);
            self.lookups.insert(id, lookup);
            return self.pump_lookup(now, id);
        };
        let distance = response.id.distance(&lookup.target);
        let named = lookup.paths[path].named_distance(&answered.from);
        // Who shows one id to those who name it and another to us has no place of its own.
        let consistent = named.is_none_or(|named| named == distance || named == FARTHEST);
        let stack = self.stack(lookup.family);
        let trusted = stack.is_some_and(|stack| stack.contacts.is_trusted(&response.id, &answered.from));
        let doubtful = lookup.tolerant && path == lookup.trusted();
        let counts = consistent && (trusted || doubtful);
        let token = response.token.filter(|token| token.len() <= TOKEN_MAX).map(Into::into);
        let responder = Responder { id: response.id, addr: answered.from, token };
        let depth = lookup.paths[path].answer(answered.from, counts.then_some((response.id, responder)));
        if let Some(stack) = stack {
            take_named((stack, self.config.binding), (&mut lookup, path), (answered.from, depth), response);
        }
        self.learn_other_family(lookup.family, response);
        if !response.values.is_empty() && lookup.first_peer.is_none() {
            let elapsed = now.saturating_duration_since(lookup.started);
            lookup.first_peer = Some((elapsed, lookup.figures.requests));
        }
        let purpose = lookup.purpose;
        self.lookups.insert(id, lookup);
        if let Purpose::Operation(operation) = purpose {
            self.operation_heard(operation, answered.from, response);
        }
        self.pump_lookup(now, id);
    }

    /// A node is late: others may be asked in its place. Tells whether it is worth asking again.
    pub(super) fn lookup_waits(&mut self, id: LookupId, to: SocketAddr) -> bool {
        let place = self.place(&to);
        let Some(lookup) = self.lookups.get_mut(&id) else { return false };
        let Some((_, path)) = lookup.owners.get(&place).copied() else { return false };
        let walk = &mut lookup.paths[path];
        walk.repeat(to);
        !walk.is_full() && walk.is_starved()
    }

    pub(super) fn lookup_missed(&mut self, now: Instant, id: LookupId, to: SocketAddr) {
        let place = self.place(&to);
        let Some(lookup) = self.lookups.get_mut(&id) else { return };
        if let Some((_, path)) = lookup.owners.remove(&place) {
            lookup.figures.timeouts += 1;
            lookup.paths[path].fail(to);
        }
        self.pump_lookup(now, id);
    }

    /// Gives running look-ups nodes to begin with that became known only now.
    pub(super) fn seed_lookups(&mut self, now: Instant, family: Family, addrs: &[SocketAddr]) {
        for lookup in self.lookups.values_mut().filter(|lookup| lookup.family == family) {
            for addr in addrs {
                let unknown = FARTHEST.distance(&lookup.target);
                lookup.paths[0].add_seed(*addr, &unknown);
            }
        }
        let ids: Vec<LookupId> = self.lookups.keys().copied().collect();
        for id in ids {
            self.pump_lookup(now, id);
        }
    }

    /// Ends a look-up whose result is no longer wanted.
    pub(super) fn cancel_lookup(&mut self, id: LookupId) {
        self.lookups.remove(&id);
        self.unask(|owner| matches!(owner, Owner::Lookup(of) if of == id));
    }

    fn end_lookup(&mut self, now: Instant, id: LookupId) {
        let Some(lookup) = self.lookups.remove(&id) else { return };
        self.unask(|owner| matches!(owner, Owner::Lookup(of) if of == id));
        let elapsed = now.saturating_duration_since(lookup.started);
        let target = lookup.target;
        let hops = lookup.paths.iter().map(Walk::hops).max().unwrap_or_default();
        let full = lookup.paths.len() == 1 + usize::from(lookup.tolerant) && lookup.paths[0].is_full();
        let mut closest: Vec<Responder> = lookup.paths.into_iter().flat_map(Walk::into_closest).collect();
        closest.sort_unstable_by_key(|responder| responder.id.distance(&target));
        if full && let Some(stack) = self.stack_mut(lookup.family) {
            stack.measure(&target, &closest);
        }
        let figures = WalkFigures { hops, elapsed, ..lookup.figures };
        let named = closest.iter().map(|responder| (responder.id, responder.addr)).collect();
        let walked = Walked { closest: named, figures, first_peer: lookup.first_peer };
        match lookup.purpose {
            Purpose::Operation(operation) => self.operation_walked(now, operation, id, (closest, walked)),
            Purpose::Bootstrap => self.bootstrap_walked(now, lookup.family),
            Purpose::Refresh => self.refresh_walked(now, lookup.family),
        }
    }

    /// Keeps nodes of the other internet that an answer names, while few are known there.
    fn learn_other_family(&mut self, family: Family, response: &Response<'_>) {
        let (other, nodes) = match family {
            Family::V4 => (Family::V6, response.nodes6),
            Family::V6 => (Family::V4, response.nodes),
        };
        let (Some(stack), Some(nodes)) = (self.stack_mut(other), nodes) else { return };
        if stack.contacts.table().len() < K && stack.seeds.len() < super::SEEDS_MAX {
            stack
                .seeds
                .extend(nodes.iter().take(NAMED_MAX).map(|(_, addr)| addr).filter(|a| !is_nowhere(a.ip())));
        }
    }
}

/// Takes the nodes that an answer names, but none of a private network from a host of the public one.
fn take_named(
    (stack, binding): (&Stack, Binding),
    (lookup, path): (&mut Lookup, usize),
    (by, depth): (SocketAddr, u32),
    response: &Response<'_>,
) {
    let nodes: Option<Nodes<'_>> = match lookup.family {
        Family::V4 => response.nodes,
        Family::V6 => response.nodes6,
    };
    let own = stack.contacts.table().id();
    for (id, addr) in nodes.iter().flat_map(Nodes::iter).take(NAMED_MAX) {
        let sensible = !is_nowhere(addr.ip()) && (is_public(addr.ip()) || !is_public(by.ip()));
        if sensible && id != own {
            lookup.offer((stack, binding), path, (id, addr), Some((by, depth)));
        }
    }
}

/// The distance within which `width` of `size` nodes should lie.
fn radius(width: usize, size: u64) -> Id<20> {
    let share = u64::MAX / size * width as u64;
    let mut radius = [0xff; 20];
    radius[..8].copy_from_slice(&share.to_be_bytes());
    Id(radius)
}
