//! The worker process: session, runner, shuffle, inputs and outputs.
