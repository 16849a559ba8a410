//! The internet of the laboratory: carries packets between networks, with the delay and loss of their links.
//!
//! The kernel's own shaper is missing on many machines, and would not lose the same packets twice.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tun_rs::{DeviceBuilder, SyncDevice};

use crate::lab::namespace::Namespace;

/// The device by which a network reaches the internet.
pub(crate) const UPLINK: &str = "wan0";

const MTU: u16 = 1500;

/// Packets under way at most; 100 Mbit/s over a second are 9,000.
const PACKETS_MAX: usize = 1 << 16;

/// Orders that wait for the thread; whoever gives one more waits too.
const ORDERS_MAX: usize = 16;

/// Packets read from one link before the next one has its turn.
const TURN: usize = 64;

/// How a link treats packets, each way.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    pub(crate) delay: Duration,
    /// The delay varies by as much to either side.
    pub(crate) jitter: Duration,
    /// Which share of packets is lost.
    pub(crate) loss: f64,
    pub(crate) rate: Option<Rate>,
}

/// How fast a link is, and how much waits in front of it before packets are dropped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    pub(crate) bits_per_second: f64,
    pub(crate) queue: Duration,
}

/// A network's link to the internet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LinkId(usize);

/// All addresses whose first bits are these.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block {
    pub(crate) first: Ipv4Addr,
    pub(crate) bits: u8,
}

impl Block {
    fn holds(self, address: Ipv4Addr) -> bool {
        let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
        (address.to_bits() ^ self.first.to_bits()) & mask == 0
    }
}

/// What the thread of the shaper is told.
enum Order {
    Attach(SyncDevice, Vec<Block>),
    Change(LinkId, Weather),
    Stop,
}

/// Handle of the thread that carries the packets; it ends with this.
#[derive(Debug)]
pub(crate) struct Shaper {
    orders: SyncSender<Order>,
    /// A byte here makes the thread look for orders.
    bell: UnixStream,
    links: usize,
    thread: Option<JoinHandle<()>>,
}

impl Shaper {
    pub(crate) fn start(seed: u64) -> Result<Self> {
        let (orders, inbox) = mpsc::sync_channel(ORDERS_MAX);
        let (bell, door) = UnixStream::pair()?;
        door.set_nonblocking(true)?;
        let thread = std::thread::spawn(move || {
            prefer_this_thread();
            let dice = StdRng::seed_from_u64(seed);
            Carrier { links: Vec::new(), under_way: BinaryHeap::new(), sent: 0, dice }.run(&inbox, &door);
        });
        Ok(Self { orders, bell, links: 0, thread: Some(thread) })
    }

    /// Gives a network an uplink, and sends it all packets to these blocks of addresses.
    pub(crate) fn attach(&mut self, network: &Namespace, blocks: Vec<Block>) -> Result<LinkId> {
        let device = network.within(|| {
            let device = DeviceBuilder::new().name(UPLINK).build_sync()?;
            device.set_nonblocking(true)?;
            Ok::<_, std::io::Error>(device)
        })??;
        network.ip(&format!("link set {UPLINK} up mtu {MTU} txqueuelen 10000"))?;
        for block in blocks.iter().filter(|block| block.bits == 32) {
            network.ip(&format!("addr add {}/32 dev {UPLINK}", block.first))?;
        }
        network.ip(&format!("route add default dev {UPLINK}"))?;
        self.order(Order::Attach(device, blocks))?;
        self.links += 1;
        Ok(LinkId(self.links - 1))
    }

    pub(crate) fn change(&mut self, link: LinkId, weather: Weather) -> Result<()> {
        self.order(Order::Change(link, weather))
    }

    fn order(&mut self, order: Order) -> Result<()> {
        self.orders.send(order).map_err(|_| anyhow!("the shaper has ended"))?;
        self.bell.write_all(&[0]).context("the shaper has ended")
    }
}

impl Drop for Shaper {
    fn drop(&mut self) {
        if self.order(Order::Stop).is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ended = thread.join();
        }
    }
}

/// Puts the calling thread before others, or measured times would include its wait for a processor.
fn prefer_this_thread() {
    let thread = nix::unistd::gettid().to_string();
    // Without the right to, times are only less exact; the laboratory measures its own before use.
    let _preferred = Command::new("renice").args(["-n", "-19", "-p", &thread]).output();
}

struct Link {
    device: SyncDevice,
    blocks: Vec<Block>,
    weather: Weather,
    /// Until when packets from here, and to here, keep the link busy.
    upwards: Instant,
    downwards: Instant,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Parcel {
    due: Instant,
    /// Keeps packets that are due at once in order.
    number: u64,
    to: usize,
    packet: Vec<u8>,
}

struct Carrier {
    links: Vec<Link>,
    under_way: BinaryHeap<Reverse<Parcel>>,
    sent: u64,
    dice: StdRng,
}

impl Carrier {
    fn run(mut self, inbox: &Receiver<Order>, mut door: &UnixStream) {
        let mut buf = vec![0; usize::from(u16::MAX)];
        let mut rings = [0; 64];
        loop {
            self.deliver();
            let Ok(ready) = self.wait(door) else { return };
            for from in ready {
                self.collect(from, &mut buf);
            }
            // How often it rang does not matter.
            let _rings = door.read(&mut rings);
            while let Ok(order) = inbox.try_recv() {
                match order {
                    Order::Attach(device, blocks) => self.attach(device, blocks),
                    Order::Change(LinkId(at), weather) => {
                        if let Some(link) = self.links.get_mut(at) {
                            link.weather = weather;
                        }
                    }
                    Order::Stop => return,
                }
            }
        }
    }

    fn attach(&mut self, device: SyncDevice, blocks: Vec<Block>) {
        let now = Instant::now();
        self.links.push(Link { device, blocks, weather: Weather::default(), upwards: now, downwards: now });
    }

    /// Waits until a packet is due, the bell rings or links have packets; tells which links.
    fn wait(&self, door: &UnixStream) -> nix::Result<Vec<usize>> {
        let due = self.under_way.peek().map(|Reverse(parcel)| parcel.due);
        let longest = due.map(|due| TimeSpec::from_duration(due.saturating_duration_since(Instant::now())));
        let fds = self.links.iter().map(|link| link.device.as_fd()).chain([door.as_fd()]);
        let mut fds: Vec<PollFd<'_>> =
            fds.map(|fd: BorrowedFd<'_>| PollFd::new(fd, PollFlags::POLLIN)).collect();
        match ppoll(&mut fds, longest, None) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error),
        }
        let ready = fds.iter().enumerate().filter(|(_, fd)| fd.any() == Some(true));
        Ok(ready.map(|(at, _)| at).filter(|at| *at < self.links.len()).collect())
    }

    fn deliver(&mut self) {
        let now = Instant::now();
        while let Some(Reverse(parcel)) = self.under_way.peek()
            && parcel.due <= now
        {
            let Some(Reverse(parcel)) = self.under_way.pop() else { return };
            if let Some(link) = self.links.get(parcel.to) {
                // A network that does not take a packet loses it, as any would.
                let _taken = link.device.send(&parcel.packet);
            }
        }
    }

    fn collect(&mut self, from: usize, buf: &mut [u8]) {
        for _ in 0..TURN {
            let Some(link) = self.links.get(from) else { return };
            let len = match link.device.recv(buf) {
                Ok(len) => len,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return,
            };
            if let Some(packet) = buf.get_mut(..len) {
                self.forward(from, packet);
            }
        }
    }

    fn forward(&mut self, from: usize, packet: &mut [u8]) {
        let Some(destination) = destination(packet) else { return };
        let to = self.links.iter().position(|link| link.blocks.iter().any(|block| block.holds(destination)));
        let Some(to) = to.filter(|to| *to != from) else { return };
        if !take_hop(packet) || self.under_way.len() >= PACKETS_MAX {
            return;
        }
        let now = Instant::now();
        let Some(due) = self.pass(from, now, packet.len(), Link::up) else { return };
        let Some(due) = self.pass(to, due, packet.len(), Link::down) else { return };
        self.sent += 1;
        self.under_way.push(Reverse(Parcel { due, number: self.sent, to, packet: packet.to_vec() }));
    }

    /// When a packet has passed a link; nothing if it is lost there.
    fn pass(
        &mut self,
        link: usize,
        at: Instant,
        len: usize,
        way: fn(&mut Link) -> &mut Instant,
    ) -> Option<Instant> {
        let link = self.links.get_mut(link)?;
        let Weather { delay, jitter, loss, rate } = link.weather;
        if self.dice.random_bool(loss) {
            return None;
        }
        let mut left = at;
        if let Some(rate) = rate {
            let busy = way(link);
            left = at.max(*busy);
            if left - at > rate.queue {
                return None;
            }
            left += Duration::from_secs_f64(bits(len) / rate.bits_per_second);
            *busy = left;
        }
        let spread = self.dice.random_range(0.0..=2.0);
        Some(left + (delay + jitter.mul_f64(spread)).saturating_sub(jitter))
    }
}

impl Link {
    fn up(&mut self) -> &mut Instant {
        &mut self.upwards
    }

    fn down(&mut self) -> &mut Instant {
        &mut self.downwards
    }
}

fn bits(len: usize) -> f64 {
    f64::from(u32::try_from(len).unwrap_or(u32::MAX)) * 8.0
}

/// Where an IPv4 packet goes.
fn destination(packet: &[u8]) -> Option<Ipv4Addr> {
    let four = packet.first()? >> 4 == 4;
    let bytes: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
    four.then(|| bytes.into())
}

/// Takes one hop off a packet's life, as a router does; tells whether it lives on.
fn take_hop(packet: &mut [u8]) -> bool {
    let Some(header) = packet.get_mut(..20) else { return false };
    if header[8] <= 1 {
        return false;
    }
    header[8] -= 1;
    // RFC 1624: the checksum of a header whose word 8 became 0x100 less becomes 0x100 more.
    let sum = u32::from(u16::from_be_bytes([header[10], header[11]])) + 0x100;
    let [.., high, low] = (sum + (sum >> 16)).to_be_bytes();
    header[10] = high;
    header[11] = low;
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_holds_what_begins_as_it_does() {
        let block = Block { first: Ipv4Addr::new(45, 20, 3, 0), bits: 24 };
        assert!(block.holds(Ipv4Addr::new(45, 20, 3, 255)));
        assert!(!block.holds(Ipv4Addr::new(45, 20, 4, 0)));
        let all = Block { first: Ipv4Addr::UNSPECIFIED, bits: 0 };
        assert!(all.holds(Ipv4Addr::BROADCAST));
    }

    /// The header of RFC 1071's kind: the sum of all words, the checksum included, is all ones.
    fn sum(header: &[u8]) -> u16 {
        let words = header.chunks_exact(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
        let sum: u32 = words.sum();
        u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap()
    }

    #[test]
    fn a_hop_leaves_the_checksum_right() {
        let mut header = [0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0, 45, 0, 0, 1, 45, 0, 0, 2];
        let checksum = !sum(&header);
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
        assert_eq!(sum(&header), 0xffff);
        assert!(take_hop(&mut header));
        assert_eq!(header[8], 63);
        assert_eq!(sum(&header), 0xffff);
        assert_eq!(destination(&header), Some(Ipv4Addr::new(45, 0, 0, 2)));
        header[8] = 1;
        assert!(!take_hop(&mut header));
    }
}
