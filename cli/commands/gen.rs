//! `vivat gen ...`

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::app::App;
use crate::args::{GenArgs, GenCommand};
use crate::failure::Failure;
use crate::quantity::ByteSize;

/// Writes sample data.
pub fn generate(app: &App, command: GenCommand) -> Result<(), Failure> {
    match command {
        GenCommand::Words(args) => words(app, &args),
    }
}

fn words(app: &App, args: &GenArgs) -> Result<(), Failure> {
    let ByteSize(bytes) = args.size;
    if args.out == Path::new("-") {
        let mut out = io::stdout().lock();
        return vivat_programs::generate::words(bytes, args.seed, &mut out)
            .and_then(|()| out.flush())
            .map_err(|error| Failure::output(&error));
    }
    let failed = |error: io::Error| Failure::file("write", &args.out, &error);
    let mut out = BufWriter::new(File::create(&args.out).map_err(failed)?);
    vivat_programs::generate::words(bytes, args.seed, &mut out)
        .and_then(|()| out.flush())
        .map_err(failed)?;
    app.note(&format!("{}: {}", args.out.display(), args.size));
    Ok(())
}
