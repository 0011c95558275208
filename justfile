# Every routine task by name: `just --list`.

# The main job with nothing at hand: the embedded model on a synthetic conveyor.
demo *args:
    cargo run --release --bin hgad -- demo {{args}}

# All tests.
test:
    cargo test --release

# What CI runs.
ci:
    .ci/run

# Format, and the lints that CI holds.
tidy:
    cargo fmt --all
    cargo clippy --workspace --all-targets -- -D warnings

# Time every stage and the whole frame.
bench *args:
    cargo bench {{args}}

# The binary that goes to a board of this architecture.
dist:
    cargo build --profile dist --bin hgad
