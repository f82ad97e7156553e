//! The links of an HTML page.
//!
//! The tokenizer is that of the HTML standard: what stands in comments, scripts
//! and texts is no link, however much it looks like one.

use html5gum::{Token, Tokenizer};

/// Calls `link` with the target of each link, in order.
pub(super) fn links(page: &[u8], mut link: impl FnMut(&[u8])) {
    for Ok(token) in Tokenizer::new(page) {
        let Token::StartTag(tag) = token else {
            continue;
        };
        let is_link = matches!(tag.name.as_slice(), b"a" | b"area");
        if let (true, Some(target)) = (is_link, tag.attributes.get(b"href".as_slice())) {
            let target = target.trim_ascii();
            if !target.is_empty() && !target.starts_with(b"#") {
                link(target);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(page: &str) -> Vec<String> {
        let mut found = Vec::new();
        links(page.as_bytes(), |target| {
            found.push(String::from_utf8_lossy(target).into_owned());
        });
        found
    }

    #[test]
    fn links_are_the_targets_of_elements_that_link() {
        let page = "<!doctype html><A HREF=' a.html '>x</a><a class=x href=b.html>y</a>\
            <area href=\"c.html?x=1&amp;y=2\"><link href=style.css><a name=z><a href=''>\
            <a href='#top'>up</a><img src=i.png>";
        assert_eq!(found(page), ["a.html", "b.html", "c.html?x=1&y=2"]);
    }

    #[test]
    fn what_only_looks_like_a_link_is_none() {
        let page = "<!-- <a href=no1> --><textarea>x</textarea>< a href=no2>\
            <p title='<a href=no3>'><a href=yes";
        assert!(found(page).is_empty(), "{:?}", found(page));
    }
}
