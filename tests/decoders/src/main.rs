//! Writes the corpus: `cargo run -p vivat-decoders` puts the bytes of every
//! valid value below `fuzz/corpus`, or below a folder that is named. What
//! fuzzing found, beside them, stays.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let corpus = env::args_os().nth(1).map_or(ours, PathBuf::from);
    for target in vivat_decoders::TARGETS {
        let folder = corpus.join(target.name);
        fs::create_dir_all(&folder)?;
        for (position, bytes) in (target.values)().iter().enumerate() {
            fs::write(folder.join(vivat_decoders::value_name(position)), bytes)?;
        }
    }
    Ok(())
}
