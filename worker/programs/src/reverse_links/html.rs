//! The links of an HTML page.
//!
//! The tokenizer is that of the HTML standard: what stands in comments, scripts
//! and texts is no link, however much it looks like one.

use html5gum::{Token, Tokenizer};

/// What a page says of its links.
#[derive(Debug, Default)]
pub(super) struct Links {
    /// The `href` of the first `base` element that has one: of all its links.
    pub(super) base: Option<Vec<u8>>,
    /// The `href`s of its `a` and `area` elements, in order.
    pub(super) hrefs: Vec<Vec<u8>>,
}

/// The links of a page, as they are written but for character references and white
/// space around them.
pub(super) fn links(page: &[u8]) -> Links {
    let mut links = Links::default();
    for Ok(token) in Tokenizer::new(page) {
        let Token::StartTag(tag) = token else {
            continue;
        };
        let Some(href) = tag.attributes.get(b"href".as_slice()) else {
            continue;
        };
        let href = href.trim_ascii().to_vec();
        match tag.name.as_slice() {
            b"base" if links.base.is_none() => links.base = Some(href),
            b"a" | b"area" => links.hrefs.push(href),
            _ => {}
        }
    }
    links
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(page: &str) -> Vec<String> {
        let hrefs = links(page.as_bytes()).hrefs;
        let text = |href: &Vec<u8>| String::from_utf8_lossy(href).into_owned();
        hrefs.iter().map(text).collect()
    }

    #[test]
    fn links_are_the_targets_of_elements_that_link() {
        let page = "<!doctype html><A HREF=' a.html '>x</a><a class=x href=b.html>y</a>\
            <area href=\"c.html?x=1&amp;y=2\"><link href=style.css><a name=z>\
            <a href='#top'>up</a><img src=i.png>";
        assert_eq!(found(page), ["a.html", "b.html", "c.html?x=1&y=2", "#top"]);
    }

    #[test]
    fn base_is_the_first_that_has_a_target() {
        let links = links(b"<base target=_top><a href=x><base href=' y/ '><base href=z>");
        assert_eq!(links.base.as_deref(), Some(b"y/".as_slice()));
    }

    #[test]
    fn what_only_looks_like_a_link_is_none() {
        let page = "<!-- <a href=no1> --><textarea>x</textarea>< a href=no2>\
            <p title='<a href=no3>'><a href=yes";
        assert!(found(page).is_empty(), "{:?}", found(page));
    }
}
