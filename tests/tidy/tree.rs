//! The files of the repository, read once for each test.
//!
//! Only what is ours: no build output, no generated data, nothing hidden except
//! the folder of the gate.

use std::fs;
use std::path::{Path, PathBuf};

/// A file and its text.
pub struct SourceFile {
    /// Relative to the root of the repository, with `/`.
    pub path: String,
    /// Content.
    pub text: String,
}

/// All text files of the repository that rules speak about.
pub struct Tree {
    /// The root.
    pub root: PathBuf,
    /// Rust sources, protos, manifests, documents; sorted by path.
    pub files: Vec<SourceFile>,
}

const SKIPPED_FOLDERS: [&str; 3] = ["target", "generated", "node_modules"];
const EXTENSIONS: [&str; 4] = ["rs", "proto", "toml", "md"];

impl Tree {
    /// Reads the tree that this test was built from.
    pub fn load() -> Self {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let mut files = Vec::new();
        collect(&root, &root, &mut files);
        files.sort_by(|a, b| a.path.cmp(&b.path));
        assert!(
            files
                .iter()
                .any(|file| file.path == "master/core/src/lib.rs"),
            "this is not the tree that the rules are about: {}",
            root.display()
        );
        Self { root, files }
    }

    /// A tree made up for a test of a rule.
    pub fn of(files: &[(&str, &str)]) -> Self {
        Self {
            root: PathBuf::from("/nowhere"),
            files: files
                .iter()
                .map(|&(path, text)| SourceFile {
                    path: path.to_owned(),
                    text: text.to_owned(),
                })
                .collect(),
        }
    }

    /// Files whose name ends so.
    pub fn with_suffix<'a>(&'a self, suffix: &'a str) -> impl Iterator<Item = &'a SourceFile> {
        self.files
            .iter()
            .filter(move |file| file.path.ends_with(suffix))
    }
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<SourceFile>) {
    let entries = fs::read_dir(folder).expect("the repository can be read");
    for entry in entries {
        let path = entry.expect("the repository can be read").path();
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        if path.is_dir() {
            if !name.starts_with('.') && !SKIPPED_FOLDERS.contains(&name.as_str()) {
                collect(root, &path, files);
            }
            continue;
        }
        let known = path
            .extension()
            .is_some_and(|extension| EXTENSIONS.iter().any(|known| extension == *known));
        if known {
            let relative = path.strip_prefix(root).expect("found below the root");
            files.push(SourceFile {
                path: relative.to_string_lossy().replace('\\', "/"),
                text: fs::read_to_string(&path).expect("sources are UTF-8"),
            });
        }
    }
}
