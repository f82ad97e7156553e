//! Bytes go to the files that they belong to, and nothing appears that is not
//! whole.

use super::*;

fn file(name: &str, content: &[u8]) -> DatasetFile {
    DatasetFile {
        name: name.to_owned(),
        bytes: content.len() as u64,
        crc32c: crc32c::crc32c(content),
    }
}

/// What each file got, from pieces of that length.
fn split(
    files: Vec<DatasetFile>,
    bytes: &[u8],
    length: usize,
) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let mut got: Vec<(String, Vec<u8>)> = Vec::new();
    let mut each = |file: &DatasetFile, part: &[u8]| {
        match got.last_mut().filter(|(name, _)| *name == file.name) {
            Some((_, has)) => has.extend_from_slice(part),
            None => got.push((file.name.clone(), part.to_vec())),
        }
        Ok(())
    };
    let mut checked = Checked::new("d", files);
    for piece in bytes.chunks(length) {
        checked.take(piece, &mut each)?;
    }
    checked.end(&mut each)?;
    Ok(got)
}

#[test]
fn every_file_gets_its_bytes_however_they_come_and_empty_files_are_made() {
    let contents: [(&str, &[u8]); 5] = [
        ("a", b""),
        ("b", b"one"),
        ("c", b""),
        ("d/e", b"two and more"),
        ("f", b""),
    ];
    let files = || contents.map(|(name, content)| file(name, content)).to_vec();
    let wanted = contents.map(|(name, content)| (name.to_owned(), content.to_vec()));
    for length in [1, 2, 3, 4, 100] {
        let got = split(files(), b"onetwo and more", length).unwrap();
        assert_eq!(got, wanted, "pieces of {length}");
    }
}

#[test]
fn too_few_too_many_and_other_bytes_are_an_error() {
    let files = || vec![file("a", b"one"), file("b", b"two")];
    for bytes in [&b"onetw"[..], b"onetwo!", b"onetwa", b""] {
        let failure = split(files(), bytes, 2).unwrap_err();
        assert_eq!(failure.code, "dataset-damaged", "{bytes:?}");
    }
}

#[test]
fn name_that_leads_elsewhere_is_an_error() {
    let failure = split(vec![file("../x", b"one")], b"one", 2).unwrap_err();
    assert_eq!(failure.code, "dataset-damaged");
}

#[test]
fn what_is_not_whole_leaves_nothing_and_what_exists_stays() {
    let directory = tempfile::tempdir().unwrap();
    let dest = directory.path().join("out");
    let beside = Beside::new(&dest).unwrap();
    fs::create_dir(&beside.temporary).unwrap();
    fs::write(beside.temporary.join("a"), "1").unwrap();
    drop(beside);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);

    let beside = Beside::new(&dest).unwrap();
    fs::write(&beside.temporary, "new").unwrap();
    fs::write(&dest, "old").unwrap();
    assert_eq!(beside.appear().unwrap_err().exit, 4);
    assert_eq!(fs::read_to_string(&dest).unwrap(), "old");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    assert_eq!(
        Beside::new(&dest).err().map(|failure| failure.exit),
        Some(4)
    );
}
