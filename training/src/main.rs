//! `hgad-train`: trains HGAD models on a host with a GPU or many cores, and writes the bundles that `hgad` runs.

fn main() -> std::process::ExitCode {
    hgad_train::cli::main()
}
