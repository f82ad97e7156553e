//! What Hadoop's properties mean for a step. Those that decide what a reducer sees
//! are translated, or refused when they ask for an order or a separator that there
//! is not; all of them are in the environment of the tasks.

use std::collections::BTreeMap;

use vivat_shared::limits::REDUCERS_MAX;

use super::describe::{Description, Step};
use crate::failure::Failure;

/// What the properties say.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Partitions, when they say.
    pub reducers: Option<u32>,
    /// Fields of the key, when they say.
    pub key_fields: Option<u32>,
    /// Fields of the key that decide the partition, when they say.
    pub partition_fields: Option<u32>,
    /// Whether values are sorted within a key.
    pub sort_values: bool,
    /// What was left aside.
    pub warnings: Vec<String>,
}

const REDUCERS: [&str; 2] = ["mapreduce.job.reduces", "mapred.reduce.tasks"];
const KEY_FIELDS: [&str; 1] = ["stream.num.map.output.key.fields"];
const PARTITION: [&str; 2] = [
    "mapreduce.partition.keypartitioner.options",
    "mapred.text.key.partitioner.options",
];
const PARTITION_FIELDS: [&str; 1] = ["num.key.fields.for.partition"];
const COMPARATOR: [&str; 2] = [
    "mapreduce.job.output.key.comparator.class",
    "mapred.output.key.comparator.class",
];
const ORDER: [&str; 2] = [
    "mapreduce.partition.keycomparator.options",
    "mapred.text.key.comparator.options",
];
const SEPARATORS: [&str; 5] = [
    "stream.map.output.field.separator",
    "stream.map.input.field.separator",
    "stream.reduce.input.field.separator",
    "mapreduce.map.output.key.field.separator",
    "map.output.key.field.separator",
];
const BY_FIELDS: &str = "KeyFieldBasedPartitioner";
const BY_HASH: &str = "HashPartitioner";

/// The shape of a step.
///
/// # Errors
///
/// Exit 2, naming the property.
pub fn shape(job: &Description, step: &Step, number: usize) -> Result<Shape, Failure> {
    let conf = &step.jobconf;
    check_separators(conf, number)?;
    check_order(conf, number)?;
    let reducers = reducers(conf, number)?;
    let mut shape = Shape {
        reducers,
        ..Shape::default()
    };
    let key_fields = whole(conf, &KEY_FIELDS, number)?;
    // mrjob asks Hadoop for it with two fields as the key of which one decides the
    // partition; the script may have its own way on top.
    if job.sort_values && key_fields.is_none_or(|fields| fields == 2) {
        shape.sort_values = true;
        return Ok(shape);
    }
    shape.key_fields = key_fields;
    let partitioner = job.partitioner.as_deref();
    let class = partitioner.map(|class| class.rsplit('.').next().unwrap_or(class));
    shape.partition_fields = match class {
        _ if job.sort_values => Some(1),
        None | Some(BY_HASH) => None,
        Some(BY_FIELDS) => partition_fields(conf, number)?,
        Some(other) => {
            shape.warnings.push(format!(
                "step {number}: the partitioner {other} is Java; keys are spread by their hash"
            ));
            None
        }
    };
    let keys = shape.key_fields.unwrap_or(1);
    shape.partition_fields = shape.partition_fields.filter(|fields| *fields < keys);
    Ok(shape)
}

fn find<'a>(
    conf: &'a BTreeMap<String, String>,
    names: &[&'static str],
) -> Option<(&'static str, &'a str)> {
    names
        .iter()
        .find_map(|name| conf.get(*name).map(|value| (*name, value.as_str())))
}

fn refused(number: usize, name: &str, value: &str, why: &str) -> Failure {
    Failure::usage(format!("step {number}: {name} = `{value}`: {why}"))
}

fn whole(
    conf: &BTreeMap<String, String>,
    names: &[&'static str],
    number: usize,
) -> Result<Option<u32>, Failure> {
    let Some((name, value)) = find(conf, names) else {
        return Ok(None);
    };
    let parsed = value.trim().parse().ok().filter(|number| *number > 0);
    parsed
        .map(Some)
        .ok_or_else(|| refused(number, name, value, "a whole number, at least 1, is needed"))
}

fn reducers(conf: &BTreeMap<String, String>, number: usize) -> Result<Option<u32>, Failure> {
    let reducers = whole(conf, &REDUCERS, number)?;
    match (reducers, find(conf, &REDUCERS)) {
        (Some(wanted), Some((name, value))) if wanted > REDUCERS_MAX => {
            let why = format!("there are at most {REDUCERS_MAX}");
            Err(refused(number, name, value, &why))
        }
        (reducers, _) => Ok(reducers),
    }
}

/// `-k1,N` and `-k1`, which is all fields; Hadoop's default is all, too.
fn partition_fields(
    conf: &BTreeMap<String, String>,
    number: usize,
) -> Result<Option<u32>, Failure> {
    let Some((name, value)) = find(conf, &PARTITION) else {
        return whole(conf, &PARTITION_FIELDS, number);
    };
    let ranges = ranges(value).filter(|ranges| !ranges.is_empty());
    let fields = ranges.and_then(|ranges| covered(&ranges));
    fields.ok_or_else(|| {
        let why = "the first so many fields decide the partition, as `-k1,1` has it";
        refused(number, name, value, why)
    })
}

/// The order that there is: by the bytes of the key, field by field.
fn check_order(conf: &BTreeMap<String, String>, number: usize) -> Result<(), Failure> {
    const WHY: &str = "keys are sorted by their bytes here, and not otherwise";
    let by_fields = match find(conf, &COMPARATOR) {
        None => return Ok(()),
        Some((_, class)) if class.ends_with("KeyFieldBasedComparator") => true,
        Some((_, class)) if class.ends_with(".Text$Comparator") => false,
        Some((name, class)) => return Err(refused(number, name, class, WHY)),
    };
    match find(conf, &ORDER).filter(|_| by_fields) {
        None => Ok(()),
        Some((name, value)) => match ranges(value).and_then(|ranges| covered(&ranges)) {
            Some(_) => Ok(()),
            None => Err(refused(number, name, value, WHY).hint(
                "write numbers so that their bytes sort as they do: '%09d' % n, or 10**9 - n",
            )),
        },
    }
}

fn check_separators(conf: &BTreeMap<String, String>, number: usize) -> Result<(), Failure> {
    let other = SEPARATORS
        .iter()
        .filter_map(|name| conf.get(*name).map(|value| (name, value)))
        .find(|(_, value)| value.as_str() != "\t");
    match other {
        None => Ok(()),
        Some((name, value)) => Err(refused(number, name, value, "fields are separated by tabs")),
    }
}

/// One `-kFIRST[,LAST]`; without a last one all fields that follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    first: u32,
    last: Option<u32>,
}

/// What `-k` options say; none when there is anything beyond whole fields.
fn ranges(options: &str) -> Option<Vec<Range>> {
    options.split_whitespace().map(range).collect()
}

fn range(option: &str) -> Option<Range> {
    let fields = option.strip_prefix("-k")?;
    let (first, last) = match fields.split_once(',') {
        Some((first, last)) => (first, Some(last)),
        None => (fields, None),
    };
    let last = match last {
        Some(last) => Some(last.parse().ok()?),
        None => None,
    };
    Some(Range {
        first: first.parse().ok()?,
        last,
    })
}

/// How many fields from the first on are meant: `Some(None)` is all, none is
/// anything else.
#[expect(
    clippy::option_option,
    reason = "all fields, so many fields, or neither"
)]
fn covered(ranges: &[Range]) -> Option<Option<u32>> {
    let mut fields = 0;
    for range in ranges {
        if range.first != fields + 1 {
            return None;
        }
        match range.last {
            None => return Some(None),
            Some(last) if last >= range.first => fields = last,
            Some(_) => return None,
        }
    }
    Some((fields > 0).then_some(fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(conf: &[(&str, &str)], partitioner: Option<&str>, sort_values: bool) -> Option<Shape> {
        let own = |text: &str| text.to_owned();
        let job = Description {
            partitioner: partitioner.map(own),
            sort_values,
            ..Description::default()
        };
        let step = Step {
            jobconf: conf
                .iter()
                .map(|(key, value)| (own(key), own(value)))
                .collect(),
            ..Step::default()
        };
        shape(&job, &step, 1).ok()
    }

    #[test]
    fn step_without_properties_leaves_all_to_the_flags() {
        assert_eq!(of(&[], None, false), Some(Shape::default()));
        let other = of(&[("mapreduce.map.memory.mb", "512")], None, false);
        assert_eq!(other, Some(Shape::default()));
    }

    #[test]
    fn number_of_reduces_is_taken_by_both_of_its_names_and_within_bounds() {
        for name in REDUCERS {
            let shape = of(&[(name, " 7 ")], None, false).unwrap();
            assert_eq!(shape.reducers, Some(7));
            for wrong in ["0", "many", "1000000000"] {
                assert_eq!(of(&[(name, wrong)], None, false), None, "{wrong}");
            }
        }
    }

    #[test]
    fn fields_of_the_key_decide_the_partition_as_far_as_the_partitioner_is_told() {
        let by_fields = Some("org.apache.hadoop.mapred.lib.KeyFieldBasedPartitioner");
        let shape = |options: &str| {
            let conf = [(KEY_FIELDS[0], "3"), (PARTITION[0], options)];
            of(&conf, by_fields, false).map(|shape| shape.partition_fields)
        };
        assert_eq!(shape("-k1,1"), Some(Some(1)));
        assert_eq!(shape("-k1,2"), Some(Some(2)));
        assert_eq!(shape("-k1,1 -k2,2"), Some(Some(2)));
        assert_eq!(shape("-k1,3"), Some(None));
        assert_eq!(shape("-k1"), Some(None));
        for other in ["-k2,2", "-k1.2,1.3", "-k1,1n -k2", "", "1"] {
            assert_eq!(shape(other), None, "{other}");
        }
        let conf = [(KEY_FIELDS[0], "2"), (PARTITION_FIELDS[0], "1")];
        assert_eq!(
            of(&conf, by_fields, false).unwrap().partition_fields,
            Some(1)
        );
        let unread = of(&[(PARTITION[0], "-k2,2")], None, false).unwrap();
        assert_eq!(unread.partition_fields, None);
        let java = of(&[], Some("org.example.Own"), false).unwrap();
        assert_eq!(java.warnings.len(), 1);
    }

    #[test]
    fn sorted_values_are_asked_for_unless_the_script_has_more_fields_in_its_key() {
        let asked = [(KEY_FIELDS[0], "2"), (PARTITION[0], "-k1,1")];
        let shape = of(&asked, None, true).unwrap();
        assert!(shape.sort_values && shape.key_fields.is_none());
        let more = [(KEY_FIELDS[0], "3"), (PARTITION[0], "-k1,1")];
        let shape = of(&more, None, true).unwrap();
        assert_eq!(
            (shape.sort_values, shape.key_fields, shape.partition_fields),
            (false, Some(3), Some(1))
        );
    }

    #[test]
    fn orders_and_separators_that_there_are_not_are_refused() {
        let class = "org.apache.hadoop.mapreduce.lib.partition.KeyFieldBasedComparator";
        let order = |options| of(&[(COMPARATOR[0], class), (ORDER[0], options)], None, false);
        assert!(order("-k1,1").is_some());
        assert!(order("-k1,1 -k2,2").is_some());
        for other in ["-k1,1 -k2nr", "-k2,2", "-r"] {
            assert!(order(other).is_none(), "{other}");
        }
        assert!(of(&[(COMPARATOR[1], "org.example.Own")], None, false).is_none());
        assert!(of(&[(SEPARATORS[0], ".")], None, false).is_none());
        assert!(of(&[(SEPARATORS[0], "\t")], None, false).is_some());
    }
}
