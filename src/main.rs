//! The `hgad` program; everything is in the library.

// So that `hgad bench` can say what a frame asks of the allocator; an atomic addition each.
#[global_allocator]
static ALLOCATOR: hgad::bench::allocation::Counted = hgad::bench::allocation::Counted;

fn main() -> std::process::ExitCode {
    hgad::cli::main()
}
