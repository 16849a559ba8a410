# What the workshop does, under short names. `cargo xtask` has the same without just.

# Every check that CI runs; or only the steps named.
ci *STEPS:
    cargo xtask ci {{STEPS}}

# Habits that the compiler does not see.
tidy:
    cargo xtask tidy

# The network on loopback that checks itself.
demo:
    cargo run --release --package homing-cli --bin homing -- demo

# Fuzzes one decoder; needs cargo-fuzz, not nightly Rust.
fuzz TARGET SECONDS="60":
    mkdir -p fuzz/corpus/{{TARGET}}
    RUSTC_BOOTSTRAP=1 cargo fuzz run --sanitizer none {{TARGET}} fuzz/corpus/{{TARGET}} fuzz/seeds/{{TARGET}} -- -max_total_time={{SECONDS}}
