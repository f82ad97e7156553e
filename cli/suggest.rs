//! "Did you mean": the known name that is closest to the one typed.

/// The closest of the known names, when it is close enough to be meant.
pub fn closest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (typed.chars().count() / 3).max(2);
    known
        .into_iter()
        .map(|name| (distance(typed, name), name))
        .filter(|(distance, name)| {
            *distance <= limit || (typed.len() >= 3 && name.starts_with(typed))
        })
        .min()
        .map(|(_, name)| name)
}

/// Insertions, deletions, replacements and swaps of neighbours between two
/// texts.
fn distance(one: &str, two: &str) -> usize {
    let one: Vec<char> = one.chars().flat_map(char::to_lowercase).collect();
    let two: Vec<char> = two.chars().flat_map(char::to_lowercase).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=two.len()).collect();
    for (row, left) in one.iter().enumerate() {
        let mut line = vec![row + 1];
        for (column, right) in two.iter().enumerate() {
            let replaced = above[column] + usize::from(left != right);
            let mut best = replaced.min(above[column + 1] + 1).min(line[column] + 1);
            let swapped =
                row > 0 && column > 0 && one[row - 1] == *right && *left == two[column - 1];
            if swapped {
                best = best.min(before[column - 1] + 1);
            }
            line.push(best);
        }
        before = std::mem::replace(&mut above, line);
    }
    above[two.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slip_of_the_fingers_finds_the_program() {
        let known = ["word-count", "grep"];
        assert_eq!(closest("wordcount", known), Some("word-count"));
        assert_eq!(closest("gerp", known), Some("grep"));
        assert_eq!(closest("word", known), Some("word-count"));
        assert_eq!(closest("k-means", known), None);
    }
}
