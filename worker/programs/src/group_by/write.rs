//! Groups as lines.
//!
//! A missing answer is an empty field, or `null`. A list of texts is one field with
//! `|` between them, or an array.

use std::borrow::Cow;

use super::aggregate::{Answer, Group};
use super::plan::Plan;
use crate::table::codes::{self, Codes};
use crate::table::write::{field, shown};

/// The header with its line end.
pub(super) fn header(plan: &Plan, line: &mut Vec<u8>) {
    for name in names(plan) {
        field(name.as_bytes(), line);
        line.push(b',');
    }
    line.pop();
    line.push(b'\n');
}

fn names(plan: &Plan) -> impl Iterator<Item = &str> {
    let aggregates = plan.aggregates.iter().map(|it| it.name.as_str());
    plan.keys.iter().map(String::as_str).chain(aggregates)
}

fn answers<'g>(plan: &'g Plan, group: &'g Group) -> impl Iterator<Item = Answer<'g>> {
    let functions = plan.functions.iter().enumerate();
    functions.map(|(index, function)| group.answer(index, *function))
}

pub(super) fn csv(plan: &Plan, texts: &[Cow<'_, [u8]>], group: &Group, line: &mut Vec<u8>) {
    for text in texts {
        field(text, line);
        line.push(b',');
    }
    for answer in answers(plan, group) {
        match answer {
            Answer::Missing => {}
            Answer::Count(count) => line.extend_from_slice(count.to_string().as_bytes()),
            Answer::Number(number) => line.extend_from_slice(shown(number).as_bytes()),
            Answer::Text(text) => field(text, line),
            Answer::Texts(texts) => {
                let texts: Vec<&[u8]> = texts.iter().map(|text| &**text).collect();
                field(&texts.join(&b'|'), line);
            }
        }
        line.push(b',');
    }
    line.pop();
}

pub(super) fn json(plan: &Plan, texts: &[Cow<'_, [u8]>], group: &Group, line: &mut Vec<u8>) {
    line.push(b'{');
    let keys = texts.iter().map(|text| Answer::Text(text));
    for (name, answer) in names(plan).zip(keys.chain(answers(plan, group))) {
        string(name.as_bytes(), line);
        line.push(b':');
        match answer {
            Answer::Missing => line.extend_from_slice(b"null"),
            Answer::Count(count) => line.extend_from_slice(count.to_string().as_bytes()),
            Answer::Number(number) => line.extend_from_slice(shown(number).as_bytes()),
            Answer::Text(text) => string(text, line),
            Answer::Texts(texts) => {
                line.push(b'[');
                for (index, text) in texts.iter().enumerate() {
                    if index > 0 {
                        line.push(b',');
                    }
                    string(text, line);
                }
                line.push(b']');
            }
        }
        line.push(b',');
    }
    line.pop();
    line.push(b'}');
}

/// Bytes that are not UTF-8 become replacement characters: JSON has no others.
fn string(text: &[u8], line: &mut Vec<u8>) {
    let text = String::from_utf8_lossy(text);
    line.extend_from_slice(serde_json::Value::from(&*text).to_string().as_bytes());
}

/// A line of the code book, without its end.
pub(super) fn code(plan: &Plan, (column, code): (&str, usize), codes: &Codes, line: &mut Vec<u8>) {
    let text = &codes.texts()[code];
    if !plan.json {
        codes::line_of(column.as_bytes(), code, text, line);
        return;
    }
    line.clear();
    line.extend_from_slice(b"{\"column\":");
    string(column.as_bytes(), line);
    line.extend_from_slice(format!(",\"code\":{code},\"text\":").as_bytes());
    string(text, line);
    line.push(b'}');
}
