//! Which files are found, under which names.

use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::symlink;

use super::*;

fn tree() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir_all(at("in/b c")).unwrap();
    fs::create_dir(at("empty")).unwrap();
    fs::write(at("in/z.txt"), "z").unwrap();
    fs::write(at("in/größe.txt"), "12").unwrap();
    fs::write(at("in/b c/x.txt"), "").unwrap();
    fs::write(at("out.txt"), "abc").unwrap();
    symlink(at("out.txt"), at("in/link.txt")).unwrap();
    symlink(at("empty"), at("in/link-to-directory")).unwrap();
    directory
}

fn find_in(directory: &tempfile::TempDir, names: &[&str]) -> Result<Sources, Failure> {
    let typed: Vec<OsString> = names
        .iter()
        .map(|name| directory.path().join(name).into_os_string())
        .collect();
    find(&typed)
}

fn names(sources: &Sources) -> Vec<&str> {
    sources
        .files
        .iter()
        .map(|file| file.name.as_str())
        .collect()
}

#[test]
fn directory_gives_sorted_names_below_it_and_follows_links_to_files() {
    let tree = tree();
    let found = find_in(&tree, &["in"]).unwrap();
    assert_eq!(
        names(&found),
        ["b c/x.txt", "größe.txt", "link.txt", "z.txt"]
    );
    assert_eq!(found.shape, Shape::Directory);
    assert_eq!(found.bytes(), Some(6));
    assert_eq!(found.remarks.len(), 1, "{:?}", found.remarks);
}

#[test]
fn one_file_is_a_file_and_several_are_a_directory() {
    let tree = tree();
    let one = find_in(&tree, &["out.txt"]).unwrap();
    assert_eq!((names(&one), one.shape), (vec!["out.txt"], Shape::File));
    let two = find_in(&tree, &["out.txt", "in"]).unwrap();
    assert_eq!(two.shape, Shape::Directory);
    assert_eq!(names(&two)[..2], ["out.txt", "in/b c/x.txt"]);
    let stdin = find(&["-".into()]).unwrap();
    assert_eq!((stdin.shape, stdin.bytes()), (Shape::File, None));
}

#[test]
fn glob_keeps_what_lies_below_its_fixed_part() {
    let tree = tree();
    let found = find_in(&tree, &["in/*/x*"]).unwrap();
    assert_eq!(names(&found), ["b c/x.txt"]);
    assert_eq!(found.shape, Shape::Directory);
    assert_eq!(find_in(&tree, &["in/*.pdf"]).unwrap_err().exit, 3);
}

#[test]
fn what_is_no_source_is_refused_by_its_kind() {
    let tree = tree();
    assert_eq!(find_in(&tree, &["nothing"]).unwrap_err().exit, 3);
    assert_eq!(find_in(&tree, &["empty"]).unwrap_err().exit, 3);
    assert_eq!(find_in(&tree, &["out.txt", "out.txt"]).unwrap_err().exit, 2);
    assert_eq!(find(&["ftp://host/x".into()]).unwrap_err().exit, 2);
    assert_eq!(find(&["".into()]).unwrap_err().exit, 2);
}

#[test]
fn name_that_is_no_text_is_refused_by_its_type() {
    let tree = tree();
    let name = OsString::from_vec(b"a\xff.txt".to_vec());
    fs::write(tree.path().join("in").join(name), "x").unwrap();
    let failure = find_in(&tree, &["in"]).unwrap_err();
    assert_eq!((failure.code, failure.exit), ("name-not-text", 2));
}

#[test]
fn format_goes_by_the_endings_when_they_agree() {
    let source = |name: &str| Source {
        origin: Origin::Stdin,
        name: name.to_owned(),
        bytes: None,
    };
    let sources = |names: &[&str]| Sources {
        files: names.iter().map(|name| source(name)).collect(),
        shape: Shape::Directory,
        remarks: Vec::new(),
    };
    assert_eq!(sources(&["a", "b.txt"]).format(None), Ok(InputFormat::Text));
    assert_eq!(sources(&["a.csv"]).format(None), Ok(InputFormat::Csv));
    let mixed = sources(&["a.csv", "b.txt"]);
    assert_eq!(mixed.format(None).unwrap_err().exit, 2);
    let asked = mixed.format(Some(InputFormat::WholeFile));
    assert_eq!(asked, Ok(InputFormat::WholeFile));
}
