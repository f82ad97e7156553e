//! Words that say nothing about a text.

use std::collections::HashSet;

/// Function words of English: articles, pronouns, prepositions, conjunctions,
/// auxiliary verbs, and what apostrophes leave of them.
const ENGLISH: &str = "a about above after again against all also am an and any are as at be \
    because been before being below between both but by can cannot could d did do does doing \
    don down during each few for from further had has have having he her here hers herself him \
    himself his how i if in into is it its itself just ll m me more most must my myself no nor \
    not now of off on once only or other ought our ours ourselves out over own re s same shall \
    she should so some such t than that the their theirs them themselves then there these they \
    this those through to too under until up upon ve very was we were what when where which \
    while who whom why will with would you your yours yourself yourselves";

/// The words of the parameter `stop-words`.
pub(super) fn list(given: &str, fold_case: bool) -> HashSet<Vec<u8>> {
    let words: Vec<&str> = match given {
        "english" => ENGLISH.split_ascii_whitespace().collect(),
        "none" => Vec::new(),
        list => list.split(',').map(str::trim).collect(),
    };
    let word = |word: &str| match fold_case {
        true => word.to_lowercase().into_bytes(),
        false => word.as_bytes().to_vec(),
    };
    words.into_iter().map(word).collect()
}
