use std::net::Ipv4Addr;

/// What a node may send to a network that has proven nothing, beyond its share of what came from there.
pub(crate) const BURST_BYTES: i64 = 64 << 10;

/// How many bytes may go out for each that came in.
pub(crate) const SHARE: i64 = 3;

/// Bytes between the node and one network of 256 addresses.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    to_node: i64,
    from_node: i64,
    proven: bool,
}

/// An account for each /24 of 127.0.0.0/8.
#[derive(Debug)]
pub(crate) struct Ledger {
    accounts: Vec<Account>,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self { accounts: vec![Account::default(); 1 << 16] }
    }

    fn account(&mut self, address: Ipv4Addr) -> &mut Account {
        let [_, high, low, _] = address.octets();
        &mut self.accounts[usize::from(high) << 8 | usize::from(low)]
    }

    /// Notes bytes sent to the node from an address.
    pub(crate) fn sent(&mut self, from: Ipv4Addr, bytes: usize) {
        self.account(from).to_node += i64::try_from(bytes).unwrap_or(i64::MAX);
    }

    /// Notes bytes that the node sent to an address.
    pub(crate) fn came_back(&mut self, to: Ipv4Addr, bytes: usize) {
        self.account(to).from_node += i64::try_from(bytes).unwrap_or(i64::MAX);
    }

    /// Notes that the network of an address shows tokens, so that nothing is promised about it.
    pub(crate) fn proves(&mut self, address: Ipv4Addr) {
        self.account(address).proven = true;
    }

    /// The unproven network that got most beyond its share, and how much; at most [`BURST_BYTES`] is right.
    pub(crate) fn worst(&self) -> (Ipv4Addr, i64) {
        let unproven = (0..).zip(&self.accounts).filter(|(_, account)| !account.proven);
        let excess = unproven.map(|(number, account)| (number, account.from_node - SHARE * account.to_node));
        let (number, excess) = excess.max_by_key(|(_, excess)| *excess).unwrap_or_default();
        (Ipv4Addr::from_bits(127 << 24 | number << 8), excess)
    }

    /// Bytes that the network of an address sent and got.
    pub(crate) fn totals(&mut self, address: Ipv4Addr) -> (i64, i64) {
        let account = self.account(address);
        (account.to_node, account.from_node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_exceeds_the_share_of_one_unproven_network_counts() {
        let mut ledger = Ledger::new();
        let (one, other, proven) = ([127, 1, 1, 1].into(), [127, 1, 2, 1].into(), [127, 1, 3, 1].into());
        ledger.sent(one, 100);
        ledger.came_back([127, 1, 1, 200].into(), 450);
        ledger.sent(other, 1000);
        ledger.came_back(other, 2000);
        ledger.came_back(proven, 9000);
        ledger.proves([127, 1, 3, 9].into());
        assert_eq!(ledger.worst(), ([127, 1, 1, 0].into(), 150));
        assert_eq!(ledger.totals(one), (100, 450));
    }
}
