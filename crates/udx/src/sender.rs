use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use wire::udx::{HEADER_LEN, Kinds, Packet};

use crate::bbr::{Ack, Bbr, Phase};
use crate::flight::{Again, Flight, Last, Place, Sent};
use crate::mtu::Mtu;
use crate::number::widen;
use crate::pacer::Pacer;
use crate::rate::{Delivery, Departure};
use crate::recovery::Recovery;
use crate::stats::SendStats;

/// Bytes that may wait beyond those on their way (libudx).
const BUFFER: u64 = 262_144;
/// Buffer that an idle stream keeps.
const BUFFER_KEPT: usize = 4 << 10;
/// A packet whose patience ended so often closes the stream the next time, after 13 s at least (libudx).
const TIMEOUTS_MAX: u8 = 6;

/// Zeros for probes of the path MTU.
const PADDING: [u8; wire::udx::BETWEEN_LEN_MAX] = [0; wire::udx::BETWEEN_LEN_MAX];

/// One direction of a stream: what waits to be sent, and what was sent and may have to be again.
#[derive(Debug)]
pub(crate) struct Sender {
    buffer: VecDeque<u8>,
    /// Where the buffer begins in the stream, and where what was never sent does.
    acked: u64,
    sent: u64,
    finish: Finish,
    flight: Flight,
    /// What the peer will take, and the packet that said so, by its number and what it acknowledged.
    window: u32,
    window_from: (u64, u64),
    recovery: Recovery,
    delivery: Delivery,
    bbr: Bbr,
    pacer: Pacer,
    mtu: Mtu,
    mtu_max: u16,
    tail: Option<TailProbe>,
    zero: ZeroWindow,
    pace_at: Option<Instant>,
    /// Packets below this go where they went first.
    old_below: Option<u64>,
    /// Since when nothing new was acknowledged although it should have been.
    unanswered: Option<Instant>,
    /// How long a silent peer is kept, if longer than the reference does.
    endurance: Option<Duration>,
    pub(crate) stats: SendStats,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finish {
    Open,
    /// The last packet is still to be made.
    Wanted,
    Sent,
}

#[derive(Clone, Copy, Debug)]
struct TailProbe;

/// Asking a peer that takes nothing whether it does again.
#[derive(Debug, Default)]
struct ZeroWindow {
    at: Option<Instant>,
    unanswered: u8,
}

/// A packet that may leave now.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Plan {
    Again(u64),
    New { len: usize, last: Last, padding: u8 },
}

/// Which of a stream's paths a packet takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Current,
    Former,
}

/// What a deadline asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    Heartbeat,
    /// The peer is silent for good.
    Dead,
}

impl Sender {
    pub(crate) fn new(now: Instant, first: u64, mtu_max: u16, cycle: usize) -> Self {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        Self {
            buffer: VecDeque::new(),
            acked: 0,
            sent: 0,
            finish: Finish::Open,
            flight: Flight::new(first),
            window: u32::MAX,
            window_from: (0, 0),
            recovery: Recovery::new(now),
            delivery: Delivery::new(now, 0),
            bbr: Bbr::new(now, cycle),
            pacer: Pacer::new(now),
            mtu: Mtu::new(nowhere, mtu_max),
            mtu_max,
            tail: None,
            zero: ZeroWindow::default(),
            pace_at: None,
            old_below: None,
            unanswered: None,
            endurance: None,
            stats: SendStats::default(),
        }
    }

    /// Starts to learn about the path to `remote`.
    pub(crate) fn set_path(&mut self, now: Instant, remote: SocketAddr, cycle: usize) {
        self.mtu = Mtu::new(remote, self.mtu_max);
        self.bbr = Bbr::new(now, cycle);
        self.pacer = Pacer::new(now);
        self.delivery = Delivery::new(now, self.delivery.epoch().wrapping_add(1));
        self.recovery.forget_path();
        self.old_below = (!self.flight.is_empty()).then(|| self.flight.next());
        if !self.flight.is_empty() {
            self.recovery.restart_rto(now);
        }
    }

    /// Sends what is on its way by the former path once more, by the current one.
    pub(crate) fn leave_former(&mut self) {
        let Some(below) = self.old_below.take() else { return };
        for number in self.flight.first()..below {
            if self.flight.lose(number) {
                self.shorten(number);
            }
        }
    }

    /// Keeps a silent peer for so long.
    pub(crate) const fn endure(&mut self, endurance: Duration) {
        self.endurance = Some(endurance);
    }

    /// Since when the peer owes an answer, if it does.
    pub(crate) const fn unanswered(&self) -> Option<Instant> {
        self.unanswered
    }

    /// Sends what is on its way once more, at once: the peer is heard again.
    pub(crate) fn hurry(&mut self, now: Instant) {
        if self.unanswered.is_some() && !self.flight.is_empty() {
            self.leave_former();
            self.recovery.rto_at = Some(now);
        }
    }

    /// The number of the next packet.
    pub(crate) fn next(&self) -> u64 {
        self.flight.next()
    }

    /// The oldest packet that is not acknowledged by number.
    pub(crate) const fn first(&self) -> u64 {
        self.flight.first()
    }

    /// Tells whether the end was sent and everything arrived.
    pub(crate) fn is_finished(&self) -> bool {
        self.finish == Finish::Sent && self.flight.is_empty()
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.flight.is_empty() && !self.has_new()
    }

    /// Tells whether there is room for `len` bytes more.
    pub(crate) fn is_writable(&self, len: usize) -> bool {
        self.finish == Finish::Open && self.room() >= len
    }

    pub(crate) const fn is_open(&self) -> bool {
        matches!(self.finish, Finish::Open)
    }

    pub(crate) fn payload(&self) -> usize {
        self.mtu.payload()
    }

    pub(crate) const fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    pub(crate) const fn bbr(&self) -> &Bbr {
        &self.bbr
    }

    pub(crate) const fn mtu(&self) -> &Mtu {
        &self.mtu
    }

    pub(crate) const fn flying(&self) -> u64 {
        self.flight.flying()
    }

    /// Bytes that wait or are on their way.
    pub(crate) fn queued(&self) -> usize {
        self.buffer.len()
    }

    fn room(&self) -> usize {
        let path = self.bbr.cwnd().saturating_mul(self.payload() as u64).min(u64::from(self.window));
        usize::try_from(BUFFER + path).unwrap_or(usize::MAX).saturating_sub(self.buffer.len())
    }

    /// Takes as many bytes as there is room for, and returns how many.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> usize {
        let (taken, _) = bytes.split_at(bytes.len().min(self.room()));
        self.buffer.extend(taken);
        taken.len()
    }

    pub(crate) fn finish(&mut self) {
        if self.finish == Finish::Open {
            self.finish = Finish::Wanted;
        }
    }

    fn unsent(&self) -> u64 {
        self.acked + self.buffer.len() as u64 - self.sent
    }

    fn has_new(&self) -> bool {
        self.finish == Finish::Wanted || self.unsent() > 0
    }

    /// Whether the peer takes `len` bytes more; it takes one packet of any length if it takes anything.
    fn is_wanted(&self, len: usize) -> bool {
        let outstanding = self.sent - self.acked;
        outstanding + len as u64 <= u64::from(self.window) || (self.flight.is_empty() && self.window > 0)
    }

    fn new_packet(&self) -> Plan {
        let payload = self.payload();
        let len = usize::try_from(self.unsent()).map_or(payload, |unsent| unsent.min(payload));
        let all = self.unsent() == len as u64;
        let last = if all && self.finish == Finish::Wanted { Last::Yes } else { Last::No };
        let padding = if len == payload && self.old_below.is_none() { self.mtu.padding() } else { None };
        Plan::New { len, last, padding: padding.unwrap_or(0) }
    }

    /// Chooses the packet that leaves next, if one may leave now.
    pub(crate) fn plan(&mut self, now: Instant) -> Option<Plan> {
        if self.tail.is_some() {
            if self.has_new() {
                return Some(self.new_packet());
            }
            if let Some(number) = self.flight.latest_flying() {
                return Some(Plan::Again(number));
            }
            self.tail = None;
        }
        let lost = self.flight.lost();
        if lost.is_none() {
            if self.unsent() < self.payload() as u64 && self.flight.flying() < self.bbr.cwnd() {
                self.delivery.starve(self.flight.flying());
            }
            if !self.has_new() {
                return None;
            }
        }
        if self.flight.flying() >= self.bbr.cwnd() {
            return None;
        }
        let plan = lost.map_or_else(|| self.new_packet(), Plan::Again);
        if let Plan::New { len, .. } = plan
            && !self.is_wanted(len)
        {
            return None;
        }
        self.pace_at = self.pacer.wait(now, self.bbr.pacing(self.mtu.payload()));
        self.pace_at.is_none().then_some(plan)
    }

    /// Bytes of the datagram that a plan makes, and the way that it takes.
    pub(crate) fn shape(&self, plan: Plan) -> (usize, Way) {
        match plan {
            Plan::New { len, padding, .. } => (HEADER_LEN + usize::from(padding) + len, Way::Current),
            Plan::Again(number) => {
                let len = self.flight.get(number).map_or(0, |sent| sent.len);
                (HEADER_LEN + usize::from(len), self.way(number))
            }
        }
    }

    fn way(&self, number: u64) -> Way {
        if self.old_below.is_some_and(|below| number < below) { Way::Former } else { Way::Current }
    }

    /// Sends what was planned: appends it to `out`, with the fields of `header` that the sender does not know.
    pub(crate) fn send(&mut self, now: Instant, plan: Plan, header: Packet<'_>, out: &mut Vec<u8>) {
        let is_probe = self.tail.take().is_some();
        let number = match plan {
            Plan::Again(number) => {
                self.shorten(number);
                let departure = self.depart(now, number);
                self.flight.resend(now, number, departure);
                self.stats.retransmits += 1;
                number
            }
            Plan::New { len, last, padding } => self.send_new(now, len, last, padding),
        };
        if self.recovery.rto_at.is_none() {
            self.recovery.restart_rto(now);
        }
        if matches!(plan, Plan::New { .. }) && !is_probe && !self.flight.has_gap() {
            self.recovery.arm_tail(now, self.flight.flying());
        }
        let before = out.len();
        self.encode(number, header, out);
        self.pacer.spend(out.len() - before);
    }

    fn send_new(&mut self, now: Instant, len: usize, last: Last, padding: u8) -> u64 {
        let number = self.flight.next();
        if padding > 0 {
            self.mtu.probe_sent();
        }
        if last == Last::Yes {
            self.finish = Finish::Sent;
        }
        if self.flight.flying() == 0 {
            self.bbr.restart();
        }
        let departure = self.depart(now, number);
        self.flight.push(Sent {
            start: self.sent,
            len: u16::try_from(len).unwrap_or(u16::MAX),
            last,
            padding,
            place: Place::Flying,
            sending: 0,
            left_at: now,
            again: Again::No,
            timeouts: 0,
            departure,
        });
        self.sent += len as u64;
        number
    }

    fn depart(&mut self, now: Instant, number: u64) -> Departure {
        let mut departure = self.delivery.depart(now, self.flight.flying());
        if self.way(number) == Way::Former {
            departure.epoch = departure.epoch.wrapping_sub(1);
        }
        departure
    }

    /// A probe of the path MTU that is sent again is a plain packet.
    fn shorten(&mut self, number: u64) {
        if let Some(sent) = self.flight.get_mut(number)
            && std::mem::take(&mut sent.padding) > 0
        {
            self.mtu.probe_lost();
        }
    }

    fn encode(&self, number: u64, header: Packet<'_>, out: &mut Vec<u8>) {
        let Some(sent) = self.flight.get(number) else { return };
        let data = if sent.len > 0 { Kinds::DATA } else { Kinds::ACK };
        let end = if sent.last == Last::Yes { Kinds::END } else { Kinds::ACK };
        let between = PADDING.get(..usize::from(sent.padding)).unwrap_or_default();
        let seq = crate::number::narrow(number);
        Packet { kinds: data.and(end), seq, between, payload: &[], ..header }.encode(out);
        let at = usize::try_from(sent.start - self.acked).unwrap_or(usize::MAX);
        let (front, back) = self.buffer.as_slices();
        let (from, to) = (at, at + usize::from(sent.len));
        let split = front.len();
        out.extend_from_slice(front.get(from.min(split)..to.min(split)).unwrap_or_default());
        let rest = from.saturating_sub(split)..to.saturating_sub(split);
        out.extend_from_slice(back.get(rest).unwrap_or_default());
    }

    /// Takes what a packet numbered `seq` says about ours; tells whether it can be true.
    pub(crate) fn on_packet(&mut self, now: Instant, packet: &Packet<'_>, seq: u64) -> bool {
        let ack = widen(packet.ack, self.flight.first());
        if ack > self.flight.next() {
            return false;
        }
        self.zero.unanswered = 0;
        if ack >= self.flight.first() && (seq, ack) >= self.window_from {
            self.window = packet.window;
            self.window_from = (seq, ack);
        }
        self.on_ack(now, ack, packet);
        true
    }

    fn on_ack(&mut self, now: Instant, ack: u64, packet: &Packet<'_>) {
        let flying_before = self.flight.flying();
        let was_first = self.flight.first();
        let acked = self.deliver(now, ack, packet);
        let advanced = self.flight.first() > was_first;
        let rtt = acked.rtt.map(|rtt| self.recovery.measure(now, rtt));
        if advanced {
            self.unanswered = None;
            self.drop_acked();
            self.recovery.restart_rto(now);
        }
        let recovered = self.recovery.phase != Phase::Open && self.flight.first() >= self.recovery.high;
        if recovered {
            self.recovery.phase = Phase::Open;
        }
        let lost = self.detect_loss(now);
        if self.flight.is_empty() {
            self.recovery.rest();
        } else if advanced && !self.flight.has_gap() {
            self.recovery.arm_tail(now, self.flight.flying());
        } else if self.flight.has_gap() {
            self.recovery.tail_at = None;
        }
        if flying_before > 0 && (acked.packets > 0 || lost > 0) {
            let min_rtt = self.recovery.min_rtt().unwrap_or_default();
            let sample = self.delivery.sample(now, min_rtt);
            let ack = Ack {
                now,
                delivered: self.delivery.delivered(),
                sample,
                rtt,
                acked: acked.packets,
                lost,
                flying_before,
                flying: self.flight.flying(),
                phase: self.recovery.phase,
            };
            self.bbr.on_ack(&ack, self.mtu.payload());
            if self.bbr.mode() == crate::BbrMode::ProbeRtt {
                self.delivery.starve(self.flight.flying());
            }
        }
    }

    fn deliver(&mut self, now: Instant, ack: u64, packet: &Packet<'_>) -> Delivered {
        let mut new = Delivered { packets: 0, rtt: None, sending: 0 };
        let (recovery, delivery, mtu) = (&mut self.recovery, &mut self.delivery, &mut self.mtu);
        let mut each = |number: u64, sent: &Sent| {
            new.packets += 1;
            recovery.deliver(now, number, sent);
            delivery.deliver(now, &sent.departure);
            if sent.departure.epoch == delivery.epoch() {
                mtu.confirm();
                if sent.again == Again::No && sent.sending >= new.sending {
                    new.sending = sent.sending;
                    new.rtt = Some(now.saturating_duration_since(sent.left_at));
                }
            }
            if sent.padding > 0 {
                mtu.probe_acked();
            }
        };
        self.flight.acknowledge(ack, &mut each);
        let (first, next) = (self.flight.first(), self.flight.next());
        for (start, end) in packet.sacks().iter() {
            let (start, end) = (widen(start, first), widen(end, first));
            if first <= start && start < end && end <= next {
                self.flight.arrive(start, end, &mut each);
            } else {
                self.stats.bad_sacks += 1;
            }
        }
        new
    }

    fn drop_acked(&mut self) {
        let kept = self.flight.get(self.flight.first()).map_or(self.sent, |sent| sent.start);
        let gone = usize::try_from(kept - self.acked).unwrap_or(usize::MAX).min(self.buffer.len());
        self.buffer.drain(..gone);
        self.acked = kept;
        if self.buffer.is_empty() && self.flight.is_empty() {
            self.buffer.shrink_to(BUFFER_KEPT);
            self.flight.rest();
        }
    }

    fn detect_loss(&mut self, now: Instant) -> u64 {
        self.recovery.reo_at = None;
        let Some(rack) = self.recovery.rack else { return 0 };
        let window = self.recovery.reorder_window(self.flight.arrived());
        let mut lost = 0;
        while let Some((number, sent)) = self.flight.earliest() {
            if sent.sending >= rack.sending {
                break;
            }
            let due = sent.left_at + rack.rtt + window;
            if due > now {
                self.recovery.reo_at = Some(due);
                break;
            }
            let is_probe = sent.padding > 0;
            self.flight.lose(number);
            self.shorten(number);
            lost += u64::from(!is_probe);
        }
        if lost > 0 && self.recovery.phase == Phase::Open {
            self.recovery.phase = Phase::Recovery;
            self.recovery.high = self.flight.next();
            self.recovery.tail_at = None;
            self.stats.fast_recoveries += 1;
            self.bbr.enter_recovery();
        }
        lost
    }

    /// The next moment at which something is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let recovery = &self.recovery;
        let all = [recovery.rto_at, recovery.reo_at, recovery.tail_at, self.zero.at, self.pace_at];
        all.into_iter().flatten().min()
    }

    /// Starts or stops asking a peer that takes nothing.
    pub(crate) fn watch_window(&mut self, now: Instant) {
        if self.window > 0 || !self.flight.is_empty() || !self.has_new() {
            self.zero.at = None;
        } else if self.zero.at.is_none() {
            self.zero.at = Some(now + self.recovery.rto());
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Due {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if is_due(self.pace_at) {
            self.pace_at = None;
        }
        if is_due(self.recovery.reo_at) {
            let lost = self.detect_loss(now);
            self.tell_loss(now, lost);
        }
        if is_due(self.zero.at) {
            return self.probe_window(now);
        }
        if is_due(self.recovery.rto_at) {
            return self.lose_patience(now);
        }
        if is_due(self.recovery.tail_at) {
            self.recovery.probe_tail(now);
            self.tail = Some(TailProbe);
            self.unanswered.get_or_insert(now);
        }
        Due::Nothing
    }

    fn tell_loss(&mut self, now: Instant, lost: u64) {
        let ack = Ack {
            now,
            delivered: self.delivery.delivered(),
            sample: None,
            rtt: None,
            acked: 0,
            lost,
            flying_before: self.flight.flying() + lost,
            flying: self.flight.flying(),
            phase: self.recovery.phase,
        };
        self.bbr.on_ack(&ack, self.mtu.payload());
    }

    fn probe_window(&mut self, now: Instant) -> Due {
        if self.zero.unanswered > TIMEOUTS_MAX {
            return Due::Dead;
        }
        self.zero.unanswered += 1;
        self.zero.at = Some(now + self.recovery.rto() * 2);
        Due::Heartbeat
    }

    fn lose_patience(&mut self, now: Instant) -> Due {
        let oldest = self.flight.first();
        let Some(sent) = self.flight.get_mut(oldest) else {
            self.recovery.rest();
            return Due::Nothing;
        };
        let since = *self.unanswered.get_or_insert(now);
        let endures = self.endurance.is_some_and(|endurance| now < since + endurance);
        if sent.timeouts >= TIMEOUTS_MAX && !endures {
            return Due::Dead;
        }
        sent.timeouts = sent.timeouts.saturating_add(1);
        self.stats.timeouts += 1;
        // Whoever moved to a new path and hears nothing: the former one is gone.
        self.leave_former();
        self.recovery.phase = Phase::Loss;
        self.recovery.high = self.flight.next();
        self.recovery.tail_at = None;
        self.flight.lose(oldest);
        self.shorten(oldest);
        let patience = self.patience_with_others();
        while let Some((number, sent)) = self.flight.earliest() {
            if sent.left_at + patience > now {
                break;
            }
            self.flight.lose(number);
            self.shorten(number);
        }
        self.bbr.give_up(self.flight.flying());
        // A bucket emptied long ago must not hold the retransmission back.
        self.pace_at = None;
        self.recovery.rto_at = Some(now + self.recovery.rto() * 2);
        Due::Nothing
    }

    fn patience_with_others(&self) -> Duration {
        let rtt = self.recovery.rack.map_or(Duration::ZERO, |rack| rack.rtt);
        rtt + self.recovery.reorder_window(self.flight.arrived())
    }
}

struct Delivered {
    packets: u64,
    rtt: Option<Duration>,
    sending: u64,
}
