//! `vivat gen ...`

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use vivat_programs::generate;

use crate::app::App;
use crate::args::{GenArgs, GenCommand};
use crate::failure::Failure;
use crate::quantity::ByteSize;

/// Writes sample data.
pub fn run(app: &App, command: GenCommand) -> Result<(), Failure> {
    match command {
        GenCommand::Words(args) => write(app, &args, generate::words),
        GenCommand::AccessLog(args) => write(app, &args, generate::access_log),
        GenCommand::GameLogs(args) => write(app, &args, generate::game_logs),
        GenCommand::Letters(args) => write(app, &args, generate::letters),
        GenCommand::Links(args) => write(app, &args, generate::links),
        GenCommand::Tera(args) => write(app, &args, generate::tera),
    }
}

/// Writes so many bytes from a seed.
type Generator = fn(u64, u64, &mut dyn Write) -> io::Result<()>;

fn write(app: &App, args: &GenArgs, generator: Generator) -> Result<(), Failure> {
    let ByteSize(bytes) = args.size;
    if args.out == Path::new("-") {
        let mut out = io::stdout().lock();
        return generator(bytes, args.seed, &mut out)
            .and_then(|()| out.flush())
            .map_err(|error| Failure::output(&error));
    }
    let failed = |error: io::Error| Failure::file("write", &args.out, &error);
    let mut out = BufWriter::new(File::create(&args.out).map_err(failed)?);
    generator(bytes, args.seed, &mut out)
        .and_then(|()| out.flush())
        .map_err(failed)?;
    app.note(&format!("{}: {}", args.out.display(), args.size));
    Ok(())
}
