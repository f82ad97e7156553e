//! What reverse-links must write, by sorted maps of sets.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use percent_encoding::percent_decode_str;
use regex::bytes::Regex;
use url::Url;

use crate::catalogue::OracleInput;
use crate::oracles::{lines, part_of};
use crate::parameters::Parameters;

/// Files that are read as pages: an oracle is not told the job's format.
const PAGE: &str = r"\.html?$";
const LINK: &str = concat!(
    r#"(?is-u)<!--.*?-->|<a(?:rea)?(?:\s+[a-z]+(?:=(?:"[^"]*"|'[^']*'|[^\s>"']+))?)*?"#,
    r#"\s+href\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>"']+))[^>]*>"#
);

const BASE: &str = r#"(?is-u)<base\s+href\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>"']+))[^>]*>"#;

/// A web server for files, far enough below its root that no link gets there.
const BELOW: &str = "http://files.invalid/~/~/~/~/~/~/~/~/";

/// What a link leads to, by the rules of the web alone: files are served by a
/// server that is made up.
fn resolved(page: &str, href: &str) -> Option<String> {
    let other = ["javascript:", "data:", "mailto:", "tel:", "about:", "blob:"];
    let is_other = other
        .iter()
        .any(|scheme| href.to_ascii_lowercase().starts_with(scheme));
    if href.is_empty() || href.starts_with('#') || is_other {
        return None;
    }
    let without_fragment = |mut url: Url| {
        url.set_fragment(None);
        url
    };
    if let Ok(url) = Url::parse(href) {
        let is_web = url.scheme().starts_with("http");
        let as_written = || href.split('#').next().unwrap_or_default().to_owned();
        return Some(if is_web {
            without_fragment(url).into()
        } else {
            as_written()
        });
    }
    if page.starts_with("http") {
        let joined = Url::parse(page).and_then(|page| page.join(href));
        return joined.ok().map(|url| without_fragment(url).into());
    }
    if href.starts_with("//") {
        return Url::parse(&format!("https:{href}")).ok().map(Into::into);
    }
    // What no link leaves, and the server's name for what is below it.
    let root = match (page.find("://"), page.starts_with('/')) {
        (Some(at), _) => page[at + 3..]
            .find('/')
            .map_or(page, |slash| &page[..at + 4 + slash]),
        (None, true) => "/",
        (None, false) => "",
    };
    let server = if root.is_empty() {
        BELOW
    } else {
        "http://files.invalid/"
    };
    let joined = Url::parse(server)
        .and_then(|url| url.join(&page[root.len()..].replace('%', "%25").replace('?', "%3F")))
        .and_then(|url| url.join(href))
        .ok()?;
    let path = percent_decode_str(joined.path()).decode_utf8().ok()?;
    let query = joined
        .query()
        .map_or_else(String::new, |query| format!("?{query}"));
    let left = path.trim_start_matches('/');
    if href.starts_with('/') || !root.is_empty() {
        let root = if root.is_empty() { "/" } else { root };
        return Some(format!("{root}{left}{query}"));
    }
    let kept = left.split('/').take_while(|part| *part == "~").count();
    let up = "../".repeat(BELOW.matches('~').count() - kept);
    let found = format!("{up}{}", left.trim_start_matches("~/"));
    let found = if found.is_empty() { "./" } else { &found };
    Some(format!("{found}{query}"))
}

pub(super) fn oracle(
    _: &Parameters,
    inputs: &[OracleInput],
    reducers: u32,
    out: &mut dyn Write,
) -> io::Result<()> {
    let page = Regex::new(PAGE).map_err(io::Error::other)?;
    let base = Regex::new(BASE).map_err(io::Error::other)?;
    let link = Regex::new(LINK).map_err(io::Error::other)?;
    let mut sources: BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>> = BTreeMap::new();
    let mut add = |source: &[u8], target: &[u8]| {
        if !target.is_empty() {
            let of_target = sources.entry(target.to_vec()).or_default();
            of_target.insert(source.to_vec());
        }
    };
    for input in inputs {
        let bytes = std::fs::read(&input.path)?;
        if page.is_match(input.display.as_bytes()) {
            let written = |captures: &regex::bytes::Captures<'_>| {
                let found = (1..=3).find_map(|group| captures.get(group));
                let found = found.map_or(&b""[..], |found| found.as_bytes());
                String::from_utf8_lossy(found.trim_ascii()).replace("&amp;", "&")
            };
            let moved = base.captures(&bytes).map(|captures| written(&captures));
            let moved = moved.and_then(|href| resolved(&input.display, &href));
            let page = moved.unwrap_or_else(|| input.display.clone());
            for captures in link.captures_iter(&bytes) {
                if let Some(target) = resolved(&page, &written(&captures)) {
                    add(input.display.as_bytes(), target.as_bytes());
                }
            }
            continue;
        }
        for line in lines(&bytes) {
            let mut fields = line.split(|byte| *byte == b'\t');
            let source = fields.next().unwrap_or(b"");
            for target in fields {
                add(source, target);
            }
        }
    }
    for part in 0..reducers as usize {
        for (target, sources) in &sources {
            if part_of(target, reducers) != part {
                continue;
            }
            out.write_all(target)?;
            for source in sources {
                out.write_all(b"\t")?;
                out.write_all(source)?;
            }
            out.write_all(b"\n")?;
        }
    }
    Ok(())
}
