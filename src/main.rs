//! `warren`: one binary that verifies a URL token, answers from memory, and
//! pulls from the origin on a miss.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    warren::cli::run()
}
