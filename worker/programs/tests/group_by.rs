//! Group-by through the engine gives the bytes that its oracle gives.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

#[expect(dead_code, reason = "made for other tests too")]
mod common;

use std::fmt::Write;

use common::{Inputs, Shape, adversarial};
use proptest::prelude::*;
use vivat_shared::cause::FailureCause;
use vivat_shared::job::InputFormat;

const LARGE: usize = 64 << 20;
const ONE: Shape = Shape {
    split_bytes: 7,
    reducers: 1,
    memory_bytes: LARGE,
};

const EVERYTHING: &str = "count, count(b), sum(b), mean(b), weighted-mean(b, c), min(b), max(b), \
    variance(b), stddev(b), first(d), distinct-count(d), distinct-list(d), quantile(b, 0.5), \
    q9 = quantile(c, 0.9), s = sum(ratio), m = mean(twice), count(ratio), max(size)";

const VARIANT: [(&str, &str); 4] = [
    ("key", "a"),
    ("aggregate", EVERYTHING),
    (
        "derive",
        "ratio = b / (c - 2) + 1; twice = 2 * ratio - abs(b) / 3 * c, size = e",
    ),
    ("ordinal", "e = S|M|L"),
];

fn games(text: &[u8]) -> Inputs {
    Inputs::named(InputFormat::Csv, &[("in/games.csv", text)])
}

fn text_of(inputs: &Inputs, parameters: &[(&str, &str)]) -> String {
    String::from_utf8(inputs.run("group-by", parameters, ONE).0).unwrap()
}

#[test]
fn missing_values_and_divisions_by_zero_are_counted_nowhere() {
    let inputs =
        games(b"team,points,tries\r\nA,10,4\r\nA,,3\r\n\"B,\"\"x\"\"\",NA,0\r\nA, 7 ,0\r\n");
    let parameters = [
        ("key", "team"),
        (
            "aggregate",
            "count, count(points), mean(points), each = mean(each), min(points)",
        ),
        ("derive", "each = points / tries"),
    ];
    let expected = "team,count,count_points,mean_points,each,min_points\n\
        A,3,2,8.5,2.5,7\n\"B,\"\"x\"\"\",1,0,,,\n";
    assert_eq!(text_of(&inputs, &parameters), expected);
    let json = [&parameters[..], &[("output", "json")]].concat();
    let expected = "{\"team\":\"A\",\"count\":3,\"count_points\":2,\"mean_points\":8.5,\
        \"each\":2.5,\"min_points\":7}\n{\"team\":\"B,\\\"x\\\"\",\"count\":1,\"count_points\":0,\
        \"mean_points\":null,\"each\":null,\"min_points\":null}\n";
    assert_eq!(text_of(&inputs, &json), expected);
}

#[test]
fn every_aggregate_is_that_of_the_oracle_for_every_split_and_budget() {
    let mut text = "a,b,c,d,e\n".to_owned();
    for row in 0_u32..200 {
        let b = f64::from(row * 7919 % 1000) / 7.0 - 60.0;
        let c = if row % 11 == 0 {
            String::new()
        } else {
            (row % 5).to_string()
        };
        let (d, e) = (
            ["x", "y\nz", "\"q\"", ""][row as usize % 4],
            ["S", "M", "L", "NA"][row as usize % 4],
        );
        let d = d.replace('"', "\"\"");
        writeln!(text, "k{},{b},{c},\"{d}\",{e}", row % 9).unwrap();
    }
    let inputs = games(text.as_bytes());
    inputs.check("group-by", &VARIANT, &[1, 100, 1 << 20], &[1, 5000, LARGE]);
    let json = [&VARIANT[..], &[("output", "json")]].concat();
    inputs.check("group-by", &json, &[100], &[LARGE]);
    let several = [&[("key", "d, a")], &VARIANT[1..]].concat();
    inputs.check("group-by", &several, &[100, 1 << 20], &[3000, LARGE]);
}

#[test]
fn sums_are_exact_however_large_their_terms_are() {
    let inputs = games(b"k,v\n1,1e100\n1,0.1\n1,0.2\n1,-1e100\n2,9007199254740993\n2,-1\n2,1e16\n");
    let parameters = [("key", "k"), ("aggregate", "sum(v), variance(v)")];
    inputs.check("group-by", &parameters, &[1, 20, 1 << 20], &[LARGE]);
    let text = text_of(&inputs, &[("key", "k"), ("aggregate", "sum(v)")]);
    assert!(
        text.starts_with("k,sum_v\n1,0.30000000000000004\n2,19007199254740990"),
        "{text}"
    );
}

#[test]
fn generated_games_are_grouped_as_the_oracle_groups_them() {
    let mut text = Vec::new();
    vivat_programs::generate::game_logs(150_000, 5, &mut text).unwrap();
    let parameters = [
        ("key", "POSITION"),
        (
            "aggregate",
            "count, mean(PTS), stddev(PTS), mean(ts), quantile(MIN, 0.25), \
            distinct-count(PLAYER_NAME), weighted-mean(PLUS_MINUS, MIN)",
        ),
        ("derive", "ts = PTS / (2 * (FGA + 0.44 * FTA))"),
    ];
    games(&text).check(
        "group-by",
        &parameters,
        &[9_000, 1 << 20],
        &[100_000, LARGE],
    );
}

fn refusal(text: &[u8], parameters: &[(&str, &str)]) -> String {
    let error = games(text)
        .try_run("group-by", parameters, ONE)
        .unwrap_err();
    let cause = error.cause();
    assert!(
        matches!(cause, FailureCause::InvalidInput { .. }),
        "{cause}"
    );
    cause.to_string()
}

#[test]
fn bad_input_is_told_with_file_and_line() {
    let sum = [("key", "team"), ("aggregate", "sum(points)")];
    let text = refusal(b"team,points\nA,1\n\n\"B\nb\",2\nA,three\n", &sum);
    let expected = "invalid input in in/games.csv: line 6: column `points`: `three` is not a \
        number (record at byte 25)";
    assert_eq!(text, expected);
    let text = refusal(b"team,score\nA,1\n", &sum);
    assert!(
        text.contains("line 1: there is no column `points`, there are: team, score"),
        "{text}"
    );
    let text = refusal(b"team,points\nA,1\nB\n", &sum);
    assert!(
        text.contains("line 3: the record has 1 fields, the header has 2"),
        "{text}"
    );
    let text = refusal(b"team,points,team\nA,1,B\n", &sum);
    assert!(text.contains("several columns `team`"), "{text}");
    for number in ["inf", "NaN1", "1e101", "-1e-101", "0x1", "1,0\"", "--1"] {
        let text = format!("team,points\nA,\"{}\"\n", number.replace('"', "\"\""));
        let text = refusal(text.as_bytes(), &sum);
        assert!(text.contains("line 2: column `points`"), "{text}");
    }
    let with_order = [&sum[..], &[("ordinal", "points=low|high")]].concat();
    let text = refusal(b"team,points\nA,high\nA,middle\n", &with_order);
    assert!(
        text.contains("line 3: column `points`: `middle` is none of"),
        "{text}"
    );
}

#[test]
fn texts_that_are_no_tables_are_refused_and_harm_nothing() {
    let lines = Inputs::new(&[b"a,b\n1,2\n"]);
    let error = lines.try_run("group-by", &[("key", "a")], ONE).unwrap_err();
    assert!(error.cause().to_string().contains("format csv"));
    for text in adversarial() {
        let text = refusal(&text, &[("key", "no such column")]);
        assert!(text.contains("in/games.csv: line 1"), "{text}");
    }
}

#[test]
fn parameters_that_make_no_sense_are_refused_with_what_is_wrong() {
    let entry = vivat_programs::find("group-by").unwrap();
    for (name, value, expected) in [
        ("key", ",", "it takes names of columns"),
        ("aggregate", "median(x)", "functions are count"),
        ("aggregate", "sum(x", "it takes [NAME =] FUNCTION(COLUMN)"),
        ("aggregate", "quantile(x, 2)", "needs a number from 0 to 1"),
        ("aggregate", "first(y)", "derived column"),
        ("derive", "a + b", "NAME = EXPRESSION"),
        ("derive", "a = b +", "is no expression"),
        ("ordinal", "x = |a", "COLUMN = FIRST|SECOND"),
    ] {
        let mut given = std::collections::BTreeMap::from([
            ("key".to_owned(), "k".to_owned()),
            ("derive".to_owned(), "y = 1".to_owned()),
        ]);
        given.insert(name.to_owned(), value.to_owned());
        let checked = vivat_programs::validate_parameters(entry, &given).unwrap();
        let error = (entry.build)(&checked).err().unwrap();
        assert_eq!(error.parameter, name, "{error}");
        assert!(error.detail.contains(expected), "{error}");
    }
}

fn field() -> impl Strategy<Value = String> {
    let fixed = prop::sample::select(&["", "NA", "0", "1", "-3.5", "0.1", "1e10", "7"][..]);
    prop_oneof![
        fixed.prop_map(str::to_owned),
        (-1e6..1e6_f64).prop_map(|it| it.to_string())
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_table_is_grouped_as_the_oracle_groups_it(
        rows in prop::collection::vec((0_u8..4, field(), field()), 0..40),
        split in 1_u64..60,
    ) {
        let mut text = "a,b,c,d,e\r\n".to_owned();
        for (key, b, c) in rows {
            write!(text, "\"k\n{key}\",{b},{c},t{key},S\r\n").unwrap();
        }
        games(text.as_bytes()).check("group-by", &VARIANT, &[split], &[1, LARGE]);
    }
}
