//! The `hgad` program; everything is in the library.

fn main() -> std::process::ExitCode {
    hgad::cli::main()
}
