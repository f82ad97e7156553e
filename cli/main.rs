//! The one binary.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: vivat::Allocator = vivat::Allocator;

fn main() -> ExitCode {
    vivat::main()
}
