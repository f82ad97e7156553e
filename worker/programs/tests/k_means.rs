//! Clustering: the same bits as its oracle, whatever was cut.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

#[expect(dead_code, reason = "other tests need the rest of it")]
mod common;

use common::{Inputs, Shape};
use vivat_programs::generate;
use vivat_shared::job::InputFormat;

const SHAPE: Shape = Shape {
    split_bytes: 1 << 30,
    reducers: 1,
    memory_bytes: 8 << 20,
};

fn rows() -> Inputs {
    let texts: Vec<Vec<u8>> = (1..4)
        .map(|seed| {
            let mut text = Vec::new();
            generate::letters(8_000, seed, &mut text).unwrap();
            text
        })
        .collect();
    let names = ["a.txt", "b.txt", "c.txt"];
    let files: Vec<(&str, &[u8])> = names
        .into_iter()
        .zip(texts.iter().map(Vec::as_slice))
        .collect();
    Inputs::named(InputFormat::Text, &files)
}

#[test]
fn centroids_have_the_bits_of_the_oracle_whatever_was_cut() {
    let inputs = rows();
    for parameters in [
        &[("k", "7"), ("labelled", "true")][..],
        &[("k", "3"), ("seed", "5"), ("rounds", "2")],
        &[("k", "1"), ("tolerance", "0")],
    ] {
        let expected = inputs.expected_of_steps("k-means", parameters, 1);
        for split_bytes in [1 << 30, 1_000, 77] {
            let shape = Shape {
                split_bytes,
                ..SHAPE
            };
            let found = inputs.try_steps("k-means", parameters, (shape, 0)).unwrap();
            let (found, expected) = (
                String::from_utf8(found),
                String::from_utf8(expected.clone()),
            );
            assert_eq!(
                found.unwrap(),
                expected.unwrap(),
                "{parameters:?} {shape:?}"
            );
        }
    }
}

#[test]
fn numbers_of_any_size_are_summed_without_error() {
    let inputs = Inputs::new(&[b"1e40 1e-200\n-1e40 0.1\n1 0.2\n", b"0.1 -1e40\n3 0.3\n7 7"]);
    let parameters = [("k", "3"), ("tolerance", "0")];
    let expected = inputs.expected_of_steps("k-means", &parameters, 1);
    for split_bytes in [1 << 30, 5] {
        let shape = Shape {
            split_bytes,
            ..SHAPE
        };
        let found = inputs
            .try_steps("k-means", &parameters, (shape, 0))
            .unwrap();
        assert!(found == expected, "{}", String::from_utf8_lossy(&found));
    }
}

#[test]
fn there_are_no_more_centroids_than_different_rows() {
    let inputs = Inputs::new(&[b"1 1\n1 1\n2 2\n", b"1 1\n"]);
    let found = inputs
        .try_steps("k-means", &[("k", "5")], (SHAPE, 0))
        .unwrap();
    let text = String::from_utf8(found).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.remove(0), "centroid,rows,inertia,x1,x2");
    lines.sort_by_key(|line| line.split(',').nth(1).map(str::to_owned));
    let clusters: Vec<&str> = lines
        .iter()
        .filter_map(|line| line.split_once(','))
        .map(|it| it.1)
        .collect();
    assert_eq!(clusters, ["1,0,2,2", "3,0,1,1"]);
}

#[test]
fn bad_rows_are_named_by_file_and_line_and_can_be_left_out() {
    for (bad, said) in [
        ("1,x\n", "column 2 is `x`, which is no number"),
        ("1,2,3\n", "it has 3 columns, and other rows have 2"),
        ("1,inf\n", "column 2 is `inf`"),
    ] {
        let text = format!("1,2\n3,4\n{bad}5,7\n");
        let inputs = Inputs::new(&[text.as_bytes()]);
        let parameters = [("k", "2")];
        let refused = inputs.try_steps("k-means", &parameters, (SHAPE, 0));
        let refused = refused.unwrap_err().cause().to_string();
        assert!(
            refused.contains(&format!("in/0.txt line 3: {said}")),
            "{refused}"
        );
        inputs
            .try_steps("k-means", &parameters, (SHAPE, 1))
            .unwrap();
    }
    let nothing = Inputs::new(&[b"", b"\n"]);
    let refused = nothing.try_steps("k-means", &[], (SHAPE, 0));
    assert!(
        refused
            .unwrap_err()
            .cause()
            .to_string()
            .contains("no rows to cluster")
    );
}
