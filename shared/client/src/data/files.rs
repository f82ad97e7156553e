//! The list of a dataset's files: in the log when it is short, else in blocks
//! behind those of the files.

use prost::Message;
use vivat_proto::v1;
use vivat_shared::dataset::DatasetFile;
use vivat_shared::limits::FILES_LISTED_MAX;

/// A list in the log shares its entry with others.
const LISTED_BYTES_MAX: usize = 16 * 1024;

/// The list as it stands in blocks.
#[must_use]
pub fn encode_files(files: &[DatasetFile]) -> Vec<u8> {
    let files = files.iter().cloned().map(Into::into).collect();
    v1::DatasetFiles { files }.encode_to_vec()
}

/// The list from its blocks, one after the other; none when it is no list.
#[must_use]
pub fn decode_files(bytes: &[u8]) -> Option<Vec<DatasetFile>> {
    let list = v1::DatasetFiles::decode(bytes).ok()?;
    Some(list.files.into_iter().map(Into::into).collect())
}

/// Whether the list may stand in the log: few files with names that are not long.
#[must_use]
pub fn files_fit_the_log(files: &[DatasetFile]) -> bool {
    let names: usize = files.iter().map(|file| file.name.len() + 32).sum();
    files.len() <= FILES_LISTED_MAX && names <= LISTED_BYTES_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(count: usize, name_bytes: usize) -> Vec<DatasetFile> {
        let file = |number| DatasetFile {
            name: format!("{number:0name_bytes$}"),
            bytes: number as u64,
            crc32c: 7,
        };
        (0..count).map(file).collect()
    }

    #[test]
    fn list_comes_back_as_it_went() {
        let list = files(1_000, 20);
        assert_eq!(decode_files(&encode_files(&list)), Some(list));
        assert_eq!(decode_files(&[]), Some(Vec::new()));
        assert_eq!(decode_files(b"\xff\xff"), None);
    }

    #[test]
    fn long_lists_and_long_names_stay_out_of_the_log() {
        assert!(files_fit_the_log(&files(FILES_LISTED_MAX, 100)));
        assert!(!files_fit_the_log(&files(FILES_LISTED_MAX + 1, 1)));
        assert!(!files_fit_the_log(&files(16, 4_096)));
    }
}
