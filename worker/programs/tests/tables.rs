//! Programs over tables that take several steps or several kinds of files give what
//! their oracles give: code books, joins by columns, regressions.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

#[expect(dead_code, reason = "made for other tests too")]
mod common;

use std::fmt::Write;
use std::path::PathBuf;
use std::process::Command;

use common::{Inputs, Shape};
use proptest::prelude::*;
use vivat_shared::cause::FailureCause;
use vivat_shared::job::InputFormat;

const LARGE: usize = 64 << 20;
const ONE: Shape = Shape {
    split_bytes: 7,
    reducers: 1,
    memory_bytes: LARGE,
};

fn tables(files: &[(&str, &str)]) -> Inputs {
    let files: Vec<_> = files
        .iter()
        .map(|(name, text)| (*name, text.as_bytes()))
        .collect();
    Inputs::named(InputFormat::Csv, &files)
}

fn table(text: &str) -> Inputs {
    tables(&[("in/table.csv", text)])
}

fn text_of(inputs: &Inputs, program: &str, parameters: &[(&str, &str)]) -> String {
    let out = inputs.try_steps(program, parameters, (ONE, 0)).unwrap();
    String::from_utf8(out).unwrap()
}

fn refusal(inputs: &Inputs, program: &str, parameters: &[(&str, &str)]) -> FailureCause {
    let refused = inputs.try_steps(program, parameters, (ONE, 0));
    refused.unwrap_err().cause()
}

/// Rows with numbers, categories, missing values, quotes and line ends in fields.
fn mixed(rows: u32) -> String {
    let mut text = "id,size,weight,\"kind\nof\",height,unused\r\n".to_owned();
    for row in 0..rows {
        let size = ["S", "M", " L ", "XL"][row as usize * 7 % 4];
        let weight = f64::from(row * 7919 % 1000) / 7.0 - 60.0;
        let kind = ["\"a,b\"", "\"\"\"q\"\"\"", "plain", "NA", "\"two\nlines\""][row as usize % 5];
        let height = weight * 0.3 + f64::from(row * 31 % 17);
        let height = match row % 13 {
            0 => String::new(),
            _ => height.to_string(),
        };
        writeln!(text, "{row},{size},{weight},{kind},{height},x").unwrap();
    }
    text
}

#[test]
fn texts_that_nobody_ordered_are_numbered_as_sorted_and_the_book_is_a_part() {
    let inputs = table("team,pos\nA,PG\nA,C\nB,\nB,PG\n");
    let parameters = [
        ("key", "team"),
        ("aggregate", "max(pos)"),
        ("ordinal", "pos"),
    ];
    let expected = "team,max_pos\nA,1\nB,1\ncolumn,code,text\npos,0,C\npos,1,PG\n";
    assert_eq!(text_of(&inputs, "group-by", &parameters), expected);
    let json = [&parameters[..], &[("output", "json")]].concat();
    let expected = "{\"team\":\"A\",\"max_pos\":1}\n{\"team\":\"B\",\"max_pos\":1}\n\
        {\"column\":\"pos\",\"code\":0,\"text\":\"C\"}\n\
        {\"column\":\"pos\",\"code\":1,\"text\":\"PG\"}\n";
    assert_eq!(text_of(&inputs, "group-by", &json), expected);
    let none = [&parameters[..], &[("code-book", "none")]].concat();
    assert_eq!(
        text_of(&inputs, "group-by", &none),
        "team,max_pos\nA,1\nB,1\n"
    );
    let declared = [
        ("key", "team"),
        ("ordinal", "pos=PG|C"),
        ("code-book", "all"),
    ];
    let expected = "team,count\nA,2\nB,2\ncolumn,code,text\npos,0,PG\npos,1,C\n";
    assert_eq!(text_of(&inputs, "group-by", &declared), expected);
}

#[test]
fn code_books_and_headers_are_those_of_the_oracle_for_every_split_and_budget() {
    let inputs = table(&mixed(120));
    let parameters = [
        ("key", "size"),
        ("ordinal", "size = S|M|L|XL; kind\nof"),
        (
            "aggregate",
            "m = mean(kind\nof), max(size), r = sum(rank), count(height)",
        ),
        ("derive", "rank = {kind\nof} * 2 + size"),
    ];
    for (name, value) in [
        ("header", "first"),
        ("header", "every"),
        ("header", "none"),
        ("code-book", "all"),
        ("output", "json"),
    ] {
        let parameters = [&parameters[..], &[(name, value)]].concat();
        inputs.check_steps("group-by", &parameters, &[64, 1 << 20], &[1, LARGE]);
    }
}

const SIDES: [(&str, &str); 2] = [("left", "*left*"), ("right", "*right*")];

#[test]
fn tables_are_joined_by_columns_of_other_names_in_other_places() {
    let inputs = tables(&[
        (
            "in/left.csv",
            "id,name,age\n1,\"A, B\",30\n2,C,40\n1,D,50\n3,,60\n",
        ),
        (
            "in/right.csv",
            "age,key\r\n\"x\"\"y\",1\r\n7,2\r\n8,1\r\n9,5\r\n",
        ),
    ]);
    let keys = [("left-columns", "id"), ("right-columns", "key")];
    let parameters = [&SIDES[..], &keys].concat();
    let expected = "id,name,age,age_right\n\
        1,\"A, B\",30,\"x\"\"y\"\n1,\"A, B\",30,8\n1,D,50,\"x\"\"y\"\n1,D,50,8\n2,C,40,7\n";
    assert_eq!(text_of(&inputs, "join", &parameters), expected);
    let kept = [("type", "left"), ("missing", "-")];
    let text = text_of(&inputs, "join", &[&parameters[..], &kept].concat());
    assert_eq!(text, format!("{expected}3,,60,-\n"));
}

#[test]
fn joins_by_columns_are_those_of_the_oracle_for_every_split_and_budget() {
    let mut right = "kind,code,\"no\nte\"\n".to_owned();
    for row in 0..60 {
        let kind = ["\"a,b\"", "plain", "NA", "\"two\nlines\"", "none"][row % 5];
        writeln!(right, "{kind},{},\"n\n{row}\"", row % 4).unwrap();
    }
    let left = mixed(120).replace("\"kind\nof\"", "kind");
    let files = [
        ("in/left-1.csv", left.as_str()),
        ("in/right.csv", right.as_str()),
        (
            "in/left-2.csv",
            "height,kind,id,size,weight,unused\n1,plain,2,S,3,4\n",
        ),
        ("in/left-3.csv", "id,size,weight,kind,height,unused\n"),
    ];
    // The second has its columns in another order: it is refused, and left out.
    let all = [&SIDES[..], &[("left-columns", "kind")]].concat();
    let refused = refusal(&tables(&files), "join", &all).to_string();
    assert!(
        refused.contains("in/left-1.csv has id,size,weight"),
        "{refused}"
    );
    let inputs = tables(&[files[0], files[1], files[3]]);
    for more in [
        &[("left-columns", "kind")][..],
        &[
            ("left-columns", "kind"),
            ("type", "left"),
            ("missing", "a,b"),
        ],
        &[("left-columns", "kind,id"), ("right-columns", "kind,code")],
    ] {
        let parameters = [&SIDES[..], more].concat();
        inputs.check_steps("join", &parameters, &[50, 1 << 20], &[1, LARGE]);
    }
    let empty = tables(&[("left", "a,b\n"), ("right", "a,c\n")]);
    let parameters = [&SIDES[..], &[("left-columns", "a")]].concat();
    empty.check_steps("join", &parameters, &[1], &[LARGE]);
    assert_eq!(text_of(&empty, "join", &parameters), "a,b,c\n");
}

#[test]
fn joins_whose_columns_and_format_do_not_go_together_are_refused_where_they_are_typed() {
    let expand = |format, more: &[(&str, &str)]| {
        let given = [&SIDES[..], more].concat();
        let step = vivat_shared::job::StepSpec {
            parameters: given
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            ..vivat_shared::job::StepSpec::once("join", 2)
        };
        vivat_programs::expand(&step, format).map_err(|error| error.to_string())
    };
    let refused = expand(InputFormat::Csv, &[]).unwrap_err();
    assert!(refused.contains("must be given in format csv"), "{refused}");
    let columns = [("left-columns", "a,b")];
    let refused = expand(InputFormat::Text, &columns).unwrap_err();
    assert!(refused.contains("it is for format csv"), "{refused}");
    let uneven = [columns[0], ("right-columns", "a")];
    let refused = expand(InputFormat::Csv, &uneven).unwrap_err();
    assert!(
        refused.contains("names 1 columns, left-columns 2"),
        "{refused}"
    );
    assert_eq!(expand(InputFormat::Csv, &columns).unwrap().len(), 1);
    assert_eq!(expand(InputFormat::Text, &[]).unwrap().len(), 1);
}

const FIT: [(&str, &str); 4] = [
    ("target", "height"),
    ("features", "weight, wide"),
    ("categories", "kind\nof; size = M|S|L|XL"),
    ("derive", "wide = abs(weight) ^ 2"),
];

#[test]
fn regressions_are_those_of_exact_arithmetic_for_every_split_and_budget() {
    let inputs = table(&mixed(130));
    for more in [
        &[][..],
        &[("ridge", "0.7")],
        &[("intercept", "false")],
        &[("intercept", "false"), ("ridge", "3")],
        &[
            ("categories", ""),
            ("ordinal", "size=S|M|L|XL"),
            ("features", "size,weight"),
        ],
    ] {
        let mut parameters: std::collections::BTreeMap<_, _> = FIT.into();
        parameters.extend(more.iter().copied());
        let parameters: Vec<_> = parameters.into_iter().collect();
        inputs.check_steps(
            "linear-regression",
            &parameters,
            &[50, 1 << 20],
            &[1, LARGE],
        );
    }
}

#[test]
fn a_line_is_found_and_told_with_its_category() {
    let inputs = table("x,k,y\n1,a,3.5\n2,b,6.5\n,a,1\n3,a,7.5\n7,b,16.5\n");
    let parameters = [("target", "y"), ("features", "x"), ("categories", "k")];
    let expected = "kind,column,text,value\ntarget,y,,\nintercept,,,1.5\nnumber,x,,2\n\
        category,k,a,0\ncategory,k,b,1\nmetric,rows,,4\nmetric,left-out,,1\nmetric,r2,,1\n\
        metric,rmse,,0\n";
    assert_eq!(text_of(&inputs, "linear-regression", &parameters), expected);
}

#[test]
fn bad_tables_are_refused_by_regressions_with_what_is_wrong_and_where() {
    let fit = [
        ("target", "y"),
        ("features", "x"),
        ("categories", "k = a|b"),
    ];
    for (text, expected) in [
        ("x,k\n1,a\n", "line 1: there is no column `y`"),
        (
            "x,k,y,x\n1,a,2,3\n",
            "line 1: there are several columns `x`",
        ),
        ("x,k,y\n1,a,2\n1,a\n", "line 3: the record has 2 fields"),
        (
            "x,k,y\n1,a,two\n",
            "line 2: column `y`: `two` is not a number",
        ),
        (
            "x,k,y\n1,a,inf\n",
            "line 2: column `y`: `inf` is not a number",
        ),
        (
            "x,k,y\n1,a,-1e400\n",
            "line 2: column `y`: `-inf` is not 0 and not between",
        ),
        (
            "x,k,y\n\n1,\"a\n\",2\n1,c,2\n",
            "line 5: column `k`: `c` is none of",
        ),
        ("", "there is no header"),
        ("x,k,y\n", "there are no rows to learn from"),
        ("x,k,y\n1,a,NA\n", "in all 1 a value is missing"),
        (
            "x,k,y\n1,a,1\n1,b,2\n1,b,3\n",
            "column `x` is the same in every row",
        ),
        (
            "x,k,y\n1,a,1\n2,b,2\n",
            "column `k = b` depends on the columns before it",
        ),
    ] {
        let refused = refusal(&table(text), "linear-regression", &fit).to_string();
        assert!(refused.contains(expected), "{text:?}: {refused}");
    }
    // A missing number is left out: what stands for it is a parameter.
    let text = text_of(
        &table("x,k,y\n1,a,1\n2,a,NaN\n3,b,2\n4,b,5\n5,a,4\n"),
        "linear-regression",
        &fit,
    );
    assert!(
        text.contains("metric,rows,,4\nmetric,left-out,,1\n"),
        "{text}"
    );
}

#[test]
fn bad_records_are_skipped_and_the_fit_is_that_of_the_others() {
    let good = "x,k,y\n1,a,1\n2,b,2\n4,b,7\n3,a,5\n";
    let bad = "x,k,y\n1,a,1\n2,a,two\n2,b,2\n1,a\n4,b,7\n3,z,5\n3,a,5\n\"4,b,1\n";
    let fit = [
        ("target", "y"),
        ("features", "x"),
        ("categories", "k = a|b"),
    ];
    let skipping = table(bad).try_steps("linear-regression", &fit, (ONE, 4));
    let found = String::from_utf8(skipping.unwrap()).unwrap();
    assert_eq!(found, text_of(&table(good), "linear-regression", &fit));
    let refused = table(bad).try_steps(
        "linear-regression",
        &fit,
        (
            Shape {
                split_bytes: 1 << 20,
                ..ONE
            },
            3,
        ),
    );
    assert!(refused.is_err(), "four records are bad");
}

#[test]
fn parameters_that_make_no_sense_are_refused_where_they_are_typed() {
    for (program, given, expected) in [
        (
            "linear-regression",
            &[("target", "y")][..],
            "it takes names of columns",
        ),
        (
            "linear-regression",
            &[("target", "y"), ("features", "y")],
            "used twice",
        ),
        (
            "linear-regression",
            &[("target", "y"), ("features", "x"), ("ridge", "1e-200")],
            "1e-100",
        ),
        (
            "linear-regression",
            &[("target", "y"), ("categories", "k=a|a")],
            "a text twice",
        ),
        (
            "group-by",
            &[("key", "a"), ("aggregate", "sum(x), sum(x)")],
            "called `sum_x`",
        ),
        (
            "group-by",
            &[("key", "a"), ("aggregate", "a = sum(x)")],
            "called `a`",
        ),
        (
            "group-by",
            &[("key", "a"), ("ordinal", "x, x = 1|2")],
            "named twice",
        ),
    ] {
        let step = vivat_shared::job::StepSpec {
            parameters: given
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            ..vivat_shared::job::StepSpec::once(program, 2)
        };
        let error = vivat_programs::expand(&step, InputFormat::Csv).unwrap_err();
        assert!(error.detail.contains(expected), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn any_rows_are_fitted_as_exact_arithmetic_fits_them(
        rows in prop::collection::vec((-1e3..1e3_f64, 0_u8..3, -1e-3..1e6_f64), 6..40),
        split in 10_u64..60,
    ) {
        let mut text = "x,k,y\n0.5,k0,1\n7,k1,2\n3,k2,3\n-1,k1,9\n".to_owned();
        for (x, k, y) in rows {
            writeln!(text, "{x},k{k},{y}").unwrap();
        }
        let fit = [("target", "y"), ("features", "x"), ("categories", "k")];
        table(&text).check_steps("linear-regression", &fit, &[split], &[LARGE]);
    }
}

/// A Python that has NumPy: that of `VIVAT_TEST_PYTHON`, or any.
fn python() -> Option<PathBuf> {
    let named = std::env::var_os("VIVAT_TEST_PYTHON");
    let python = PathBuf::from(named.unwrap_or_else(|| "python3".into()));
    let found = Command::new(&python).args(["-c", "import numpy"]).output();
    found.is_ok_and(|it| it.status.success()).then_some(python)
}

/// By singular values, from the numbers themselves and not from their products.
const LEAST_SQUARES: &str = "\
import csv, sys, numpy
rows = [r for r in csv.DictReader(open(sys.argv[1], newline='')) if 'NA' not in r.values()]
kinds = sorted({r['k'] for r in rows})[1:]
numbers = lambda r: [1.0, float(r['a']), float(r['b']), float(r['c'])]
x = numpy.array([numbers(r) + [float(r['k'] == k) for k in kinds] for r in rows])
y = numpy.array([float(r['y']) for r in rows])
beta, _, rank, _ = numpy.linalg.lstsq(x, y, rcond=None)
assert rank == x.shape[1]
left = y - x @ beta
print(*[repr(float(b)) for b in beta])
print(repr(float(1 - left @ left / ((y - y.mean()) @ (y - y.mean())))))
print(repr(float(numpy.sqrt(left @ left / len(y)))))
";

#[test]
fn coefficients_agree_with_numpys_least_squares() {
    let Some(python) = python() else {
        println!("SKIPPED: there is no Python with NumPy (VIVAT_TEST_PYTHON names one)");
        return;
    };
    let mut text = "a,b,c,k,y\n".to_owned();
    for row in 0_u32..500 {
        let of = |factor: u32, range: u32| f64::from(row * factor % range) / f64::from(range);
        let (a, b) = (of(7919, 1009) * 40.0 + 5.0, of(104_729, 997) - 0.5);
        let c = 2_000.0 + of(31, 101) * 25.0;
        let kind = row % 4;
        let y = 3.0 * a - 20.0 * b + 0.01 * c + f64::from(kind * kind) + of(6_113, 503);
        let y = if row % 50 == 7 {
            "NA".to_owned()
        } else {
            y.to_string()
        };
        writeln!(text, "{a},{b},{c},k{kind},{y}").unwrap();
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("rows.csv");
    std::fs::write(&path, &text).unwrap();
    let said = Command::new(python)
        .args(["-c", LEAST_SQUARES])
        .arg(&path)
        .output()
        .unwrap();
    assert!(
        said.status.success(),
        "{}",
        String::from_utf8_lossy(&said.stderr)
    );
    let wanted: Vec<f64> = String::from_utf8(said.stdout)
        .unwrap()
        .split_whitespace()
        .map(|number| number.parse().unwrap())
        .collect();
    let fit = [("target", "y"), ("features", "a,b,c"), ("categories", "k")];
    let model = text_of(&table(&text), "linear-regression", &fit);
    let found: Vec<f64> = model
        .lines()
        .filter(|line| {
            ["intercept", "number", "category", "metric,r"]
                .iter()
                .any(|it| line.starts_with(it))
        })
        .filter(|line| !line.starts_with("metric,rows") && !line.starts_with("category,k,k0"))
        .map(|line| line.rsplit(',').next().unwrap().parse().unwrap())
        .collect();
    assert_eq!(found.len(), wanted.len(), "{model}");
    for (found, wanted) in found.iter().zip(&wanted) {
        assert!(
            (found - wanted).abs() <= 1e-9 * wanted.abs(),
            "{found} {wanted}"
        );
    }
}
