//! The workshop's own tools: `cargo xtask COMMAND`.

mod bench;
mod flood;

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let command = args.next();
    let rest: Vec<String> = args.collect();
    match command.as_deref() {
        Some("bench") => bench::run(&rest),
        Some("flood") => flood::run(&rest),
        _ => anyhow::bail!("usage: cargo xtask bench|flood ..."),
    }
}
