use wire::udx::Seq;

/// Numbers count from here on, so that the one before the first exists too.
pub(crate) const ORIGIN: u64 = 1 << 32;

/// Turns the number of a packet into one that does not wrap: the one that lies closest to `near`.
pub(crate) fn widen(seq: Seq, near: u64) -> u64 {
    let ahead = seq.0.wrapping_sub(narrow(near).0).cast_signed();
    near.saturating_add_signed(i64::from(ahead))
}

/// The number as it stands in a packet.
pub(crate) const fn narrow(number: u64) -> Seq {
    let [a, b, c, d, ..] = number.to_le_bytes();
    Seq(u32::from_le_bytes([a, b, c, d]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_on_where_the_wire_starts_again() {
        let near = ORIGIN + u64::from(u32::MAX);
        assert_eq!(widen(Seq(u32::MAX), near), near);
        assert_eq!(widen(Seq(0), near), near + 1);
        assert_eq!(widen(Seq(0), ORIGIN), ORIGIN);
        assert_eq!(widen(Seq(u32::MAX), ORIGIN), ORIGIN - 1);
        assert_eq!(narrow(near + 3), Seq(2));
    }
}
