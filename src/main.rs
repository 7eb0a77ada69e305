//! The command `coffer`: everything is in the library.

fn main() -> std::process::ExitCode {
    coffer::cli::main()
}
