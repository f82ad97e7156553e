//! Arithmetic by recursive descent.

/// The value of an expression; what is missing is `NaN`.
pub(crate) fn value(text: &str, column: &dyn Fn(&str) -> f64) -> f64 {
    let mut rest = text;
    let value = sum(&mut rest, column);
    assert!(rest.trim().is_empty(), "{text}: {rest} is left");
    value
}

fn take(rest: &mut &str, characters: &[char]) -> Option<char> {
    let trimmed = rest.trim_start();
    let first = trimmed
        .chars()
        .next()
        .filter(|it| characters.contains(it))?;
    *rest = &trimmed[first.len_utf8()..];
    Some(first)
}

fn sum(rest: &mut &str, column: &dyn Fn(&str) -> f64) -> f64 {
    let mut value = product(rest, column);
    while let Some(sign) = take(rest, &['+', '-']) {
        let other = product(rest, column);
        value = if sign == '+' {
            value + other
        } else {
            value - other
        };
    }
    value
}

fn product(rest: &mut &str, column: &dyn Fn(&str) -> f64) -> f64 {
    let mut value = power(rest, column);
    while let Some(sign) = take(rest, &['*', '/']) {
        let other = power(rest, column);
        value = match sign {
            '*' => value * other,
            _ if other == 0.0 => f64::NAN,
            _ => value / other,
        };
    }
    value
}

fn power(rest: &mut &str, column: &dyn Fn(&str) -> f64) -> f64 {
    let mut value = atom(rest, column);
    while take(rest, &['^']).is_some() {
        let other = atom(rest, column);
        // One to the power of what is missing is missing.
        value = if other.is_nan() {
            other
        } else {
            value.powf(other)
        };
    }
    value
}

fn atom(rest: &mut &str, column: &dyn Fn(&str) -> f64) -> f64 {
    if take(rest, &['-']).is_some() {
        return -atom(rest, column);
    }
    if take(rest, &['(']).is_some() {
        let value = sum(rest, column);
        assert!(
            take(rest, &[')']).is_some(),
            "a bracket is open before {rest}"
        );
        return value;
    }
    if take(rest, &['{']).is_some() {
        let (name, behind) = rest.split_once('}').unwrap_or((rest, ""));
        *rest = behind;
        return column(name);
    }
    let text = rest.trim_start();
    let end = text.find(|it: char| !(it.is_alphanumeric() || matches!(it, '_' | '.')));
    let (word, behind) = text.split_at(end.unwrap_or(text.len()));
    *rest = behind;
    match word {
        "abs" => atom(rest, column).abs(),
        "sqrt" => atom(rest, column).sqrt(),
        "floor" => atom(rest, column).floor(),
        "ceil" => atom(rest, column).ceil(),
        "round" => atom(rest, column).round(),
        word => word.parse().unwrap_or_else(|_| column(word)),
    }
}
