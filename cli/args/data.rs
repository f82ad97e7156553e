//! The grammar of datasets and values.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use vivat_shared::job::InputFormat;

use crate::quantity::ByteSize;

/// Block sizes that are allowed: a block stands in memory where it is sent.
const BLOCK_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// `vivat data ...`
#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// Put files into the cluster as a dataset
    Put(PutArgs),
    /// Fetch a dataset: a file if it came from one source, else a directory
    #[command(after_help = "Example:\n  vivat data get books here/books\n\n\
        What is fetched appears under its name when it is whole. Every byte is checked.\n\
        Exit codes: 3 no such dataset; 4 DEST exists; 5 a block is on no worker that is there \
        now, but may come back; 1 a block is lost or damaged everywhere.")]
    Get {
        /// The dataset
        #[arg(value_name = "NAME")]
        name: String,
        /// A path that does not exist yet
        #[arg(value_name = "DEST")]
        dest: PathBuf,
    },
    /// Print a dataset's files, one after the other
    #[command(after_help = "Example:\n  vivat data cat logs | head\n\n\
        Exit codes: 3 no such dataset; 5 a block is on no worker that is there now, but may \
        come back; 1 a block is lost or damaged everywhere. What was printed before is right.")]
    Cat {
        /// The dataset
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// All datasets
    #[command(after_help = "Example:\n  vivat data ls -o wide")]
    Ls,
    /// Remove a dataset
    #[command(after_help = "Example:\n  vivat data rm books --yes")]
    Rm {
        /// The dataset
        #[arg(value_name = "NAME")]
        name: String,
        /// Do not ask; needed where there is no terminal to ask on
        #[arg(short, long)]
        yes: bool,
    },
    /// Which workers have which block
    #[command(after_help = "Example:\n  vivat data where books -o json")]
    Where {
        /// The dataset
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Compare the directory with the workers' disks, both ways, and read every copy
    #[command(after_help = "Example:\n  vivat data check && echo all the same\n\n\
        Exit codes: 1 there is a difference; 5 there is none, but a worker could not be asked.\n\
        Damaged copies are dropped, and made anew from the others.")]
    Check {
        /// The dataset [default: all]
        #[arg(value_name = "NAME")]
        name: Option<String>,
    },
}

/// `vivat data put`
#[derive(Debug, Args)]
#[command(
    long_about = "Put files into the cluster as a dataset.\n\nThe files are cut into blocks at the \
        ends of records, and each block goes to several workers. The dataset appears under its \
        name when it is whole; a put that is broken off leaves nothing.",
    after_help = "Examples:\n  vivat data put books 'books/*.txt'\n  \
        vivat data put games game-logs.csv --replicas 3\n  \
        zcat access.log.gz | vivat data put access -\n\n\
        A directory is put with all that is below it, under the names that it has there; links \
        in it are followed to files only. Other sources go by their file names. URLs are read \
        with the credentials of this environment, as workers read inputs.\n\
        Exit codes: 3 a source is not there; 4 the name is taken; 5 no leader or no worker for \
        too long; 6 a source cannot be read; 7 given up by Ctrl-C."
)]
pub struct PutArgs {
    /// Its name, for `vivat://NAME`
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Files, quoted globs, directories, URLs (http, s3, gs, az); `-` is standard input
    #[arg(value_name = "SOURCE", required = true)]
    pub sources: Vec<OsString>,
    /// text, csv, whole-file or fixed:N [default: csv for .csv files, else text]
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<InputFormat>,
    /// Workers that shall have each block
    #[arg(
        long,
        value_name = "N",
        default_value_t = vivat_shared::dataset::REPLICAS_DEFAULT,
        value_parser = clap::value_parser!(u8)
            .range(1..=i64::from(vivat_shared::limits::REPLICAS_MAX))
    )]
    pub replicas: u8,
    /// Bytes of a block, unless a record is longer
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = ByteSize(vivat_shared::dataset::BLOCK_BYTES_DEFAULT),
        value_parser = block_size
    )]
    pub block_size: ByteSize,
}

/// `vivat value ...`
#[derive(Debug, Subcommand)]
pub enum ValueCommand {
    /// Write a value of at most 48 KiB, and print its version
    #[command(after_help = "Examples:\n  vivat value put rate 0.05\n  \
            vivat value put weights @weights.bin --if-version 3\n\n\
            Exit codes: 4 with --if-version when there is another version.")]
    Put {
        /// Its name
        #[arg(value_name = "NAME")]
        name: String,
        /// The value itself, or @FILE for what is in a file (@- is standard input)
        #[arg(value_name = "VALUE|@FILE", allow_hyphen_values = true)]
        value: OsString,
        /// Only over this version; 0: only if there is none
        #[arg(long, value_name = "N")]
        if_version: Option<u64>,
    },
    /// Print a value, byte for byte
    #[command(after_help = "Example:\n  vivat value get weights > weights.bin")]
    Get {
        /// Its name
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Remove a value
    #[command(after_help = "Example:\n  vivat value rm weights --if-version 4")]
    Rm {
        /// Its name
        #[arg(value_name = "NAME")]
        name: String,
        /// Only this version
        #[arg(long, value_name = "N")]
        if_version: Option<u64>,
        /// Taken for scripts that always give it; values are removed without asking
        #[arg(short, long)]
        yes: bool,
    },
    /// All values
    #[command(after_help = "Example:\n  vivat value ls")]
    Ls,
}

fn block_size(text: &str) -> Result<ByteSize, String> {
    let size: ByteSize = text
        .parse()
        .map_err(|error: crate::quantity::ParseQuantityError| error.to_string())?;
    if (1..=BLOCK_BYTES_MAX).contains(&size.0) {
        return Ok(size);
    }
    Err(format!("1B to {}", ByteSize(BLOCK_BYTES_MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_size_is_bounded_because_a_block_stands_in_memory() {
        assert_eq!(block_size("1MiB"), Ok(ByteSize(1 << 20)));
        assert!(block_size("0").is_err());
        assert!(block_size("1GiB").is_err());
        assert!(block_size("much").is_err());
    }
}
