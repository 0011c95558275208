# Every routine task by name: `just --list`.

# The main job with nothing at hand: the embedded model on a synthetic conveyor.
demo *args:
    cargo run --release --bin hgad -- demo {{args}}

# All tests.
test:
    cargo test --release

# Break the line core in several ways, and see whether the simulation notices.
mutants:
    tests/mutants.sh

# The whole program on virtual devices, in a guest (cross/README.md).
lab *args:
    cross/lab/run {{args}}

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

# The binary that is given away: it starts on Debian 11 and newer (aarch64, armv7 or x86_64).
release architecture:
    cross/release.sh build {{architecture}}

# Make the demo's model and calibrations again (docs/demo-model.md), in out/demo-model.
demo-model:
    cargo build --release --workspace
    mkdir -p out/demo-model
    cd out/demo-model && ../../target/release/hgad-train render --out parts --train 400 --test 60
    cd out/demo-model && ../../target/release/hgad-train pretrain --out backbone.onnx --steps 3500 --batch 48
    cd out/demo-model && ../../target/release/hgad-train train --data parts --backbone backbone.onnx \
        --taps conv2,conv4,conv6 --normalize none --size 192 --hold-out 4 --seed 1 \
        --distance centers --out ../../models/demo
    cd out/demo-model && ../../target/release/hgad-train render --out normals --seed 1002 --train 1000 --test 1
    for c in blister cap gear; do target/release/hgad calibrate --model models/demo --class $c \
        --images out/demo-model/normals/$c/train/good --target-frr 0.012 \
        --out calibration/demo-$c.toml; done
