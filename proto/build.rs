//! Compiles every `.proto` file below `vivat/` with a compiler written in
//! Rust, so that a fresh machine needs nothing but cargo, and leaves the
//! descriptor set beside the code for gRPC reflection.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use prost::Message;

/// The root that `import` paths begin at.
const ROOT: &str = ".";

fn main() -> Result<(), Box<dyn Error>> {
    let mut files = Vec::new();
    find_protos(Path::new("vivat"), &mut files)?;
    // Directory order differs between machines; the descriptor bytes must not.
    files.sort();
    println!("cargo::rerun-if-changed=vivat");

    let mut compiler = protox::Compiler::new([ROOT])?;
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(&files)?;
    let descriptors = compiler.file_descriptor_set();

    let out = PathBuf::from(env::var("OUT_DIR")?);
    // Comments are for the generated code; reflection does not need them.
    let mut bare = descriptors.clone();
    for file in &mut bare.file {
        file.source_code_info = None;
    }
    fs::write(out.join("descriptors.bin"), bare.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".")
        .compile_fds(descriptors)?;
    Ok(())
}

fn find_protos(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find_protos(&path, files)?;
        } else if path
            .extension()
            .is_some_and(|extension| extension == "proto")
        {
            files.push(path);
        }
    }
    Ok(())
}
