//! Where a link of a page leads, as the WHATWG's URL standard has it for pages with
//! a URL, and by the same rules for pages that are files.
//!
//! A page that was fetched has a URL, and what its links lead to is URLs. A page
//! that is a file has a path (or a key of a store, or a name in a dataset), and its
//! relative links lead to files beside it, by the names that they would have if they
//! had been typed where the page's name was: so source and target of a link are
//! spelt alike.

use percent_encoding::percent_decode_str;
use url::Url;

/// Schemes of what is no page.
const NO_PAGES: [&str; 6] = ["javascript", "data", "mailto", "tel", "about", "blob"];

/// A page, as far as its links go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Page {
    /// It has a URL.
    Web(Url),
    /// It is a file.
    File {
        /// What no link leaves: empty, `/`, `vivat://NAME/` and the like.
        root: String,
        /// The folders below the root.
        folders: Vec<String>,
        /// The last component.
        name: String,
    },
}

impl Page {
    /// The page of a name, as it was typed.
    pub(super) fn of(name: &str) -> Self {
        if is_web(name)
            && let Ok(url) = Url::parse(name)
        {
            return Self::Web(url);
        }
        let (root, path) = match name.split_once("://") {
            Some((scheme, rest)) => {
                let authority = rest.find('/').map_or(rest.len(), |slash| slash + 1);
                name.split_at(scheme.len() + "://".len() + authority)
            }
            None => name.split_at(usize::from(name.starts_with('/'))),
        };
        let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
        let folders = folders.split('/').filter(|folder| !folder.is_empty());
        Self::File {
            root: root.to_owned(),
            folders: folders.map(str::to_owned).collect(),
            name: name.to_owned(),
        }
    }

    /// The page against which links are resolved when the page names another by its
    /// first `base` element.
    pub(super) fn with_base(self, href: &str) -> Self {
        match self.target(href) {
            Some(base) => Self::of(&base),
            None => self,
        }
    }

    /// What a link leads to; none when it stays within the page or leads to no page.
    pub(super) fn target(&self, href: &str) -> Option<String> {
        let href: String = href.trim().replace(['\t', '\n', '\r'], "");
        let href = href.split('#').next().filter(|href| !href.is_empty())?;
        if let Some(scheme) = scheme(href) {
            let leads_nowhere = NO_PAGES.iter().any(|it| scheme.eq_ignore_ascii_case(it));
            return (!leads_nowhere).then(|| absolute(href));
        }
        match self {
            Self::Web(url) => match url.join(href) {
                Ok(target) => Some(target.into()),
                Err(_not_a_url) => Some(href.to_owned()),
            },
            Self::File { .. } if href.starts_with("//") => Some(absolute(&format!("https:{href}"))),
            Self::File {
                root,
                folders,
                name,
            } => Some(beside(root, folders, name, href)),
        }
    }
}

fn is_web(name: &str) -> bool {
    ["http://", "https://"]
        .iter()
        .any(|scheme| name.starts_with(scheme))
}

/// Letters, then letters, digits, `+`, `-` and `.`, then a colon.
fn scheme(href: &str) -> Option<&str> {
    let (scheme, _) = href.split_once(':')?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    let begins = scheme
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic());
    (begins && scheme.bytes().all(fits)).then_some(scheme)
}

/// A URL in the form that all its spellings share; others than the web's as they are.
fn absolute(href: &str) -> String {
    match Url::parse(href) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => url.into(),
        Ok(_) | Err(_) => href.to_owned(),
    }
}

fn beside(root: &str, folders: &[String], name: &str, href: &str) -> String {
    let (path, query) = match href.split_once('?') {
        Some((path, query)) => (path, format!("?{query}")),
        None => (href, String::new()),
    };
    // Files are named by bytes, links to them by escapes; one that stands for a line
    // end stays an escape.
    let decoded = percent_decode_str(path).decode_utf8().ok();
    let path = match decoded {
        Some(decoded) if !decoded.chars().any(char::is_control) => decoded.into_owned(),
        Some(_) | None => path.to_owned(),
    };
    let is_rooted = path.starts_with('/');
    let root = if is_rooted && root.is_empty() {
        "/"
    } else {
        root
    };
    let mut all: Vec<&str> = if is_rooted {
        Vec::new()
    } else {
        folders.iter().map(String::as_str).collect()
    };
    if path.is_empty() {
        all.push(name);
        return format!("{root}{}{query}", all.join("/"));
    }
    let mut is_folder = true;
    for component in path.split('/') {
        is_folder = matches!(component, "" | "." | "..");
        match component {
            "" | "." => {}
            // Above what was typed there may be more; above a root there is not.
            ".." if all.last().is_none_or(|last| *last == "..") => {
                if root.is_empty() {
                    all.push("..");
                }
            }
            ".." => drop(all.pop()),
            component => all.push(component),
        }
    }
    let end = if is_folder && !all.is_empty() {
        "/"
    } else {
        ""
    };
    let found = format!("{root}{}{end}", all.join("/"));
    match found.as_str() {
        "" => format!("./{query}"),
        _ => found + &query,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(page: &str, href: &str) -> String {
        Page::of(page).target(href).unwrap_or_default()
    }

    #[test]
    fn links_of_a_file_lead_to_files_beside_it_as_they_would_have_been_typed() {
        for (page, href, expected) in [
            ("tour.html", "harbour.html", "harbour.html"),
            (
                "data/input/tour.html",
                "harbour.html#fish",
                "data/input/harbour.html",
            ),
            ("data/input/tour.html", "./a/../b.html", "data/input/b.html"),
            ("data/input/tour.html", "../c.html?x=1", "data/c.html?x=1"),
            ("data/tour.html", "../../up.html", "../up.html"),
            ("../site/a.html", "../../b.html", "../../b.html"),
            ("data/tour.html", "?page=2", "data/tour.html?page=2"),
            ("data/tour.html", "sub/", "data/sub/"),
            ("data/tour.html", "..", "./"),
            ("data/tour.html", "/about.html", "/about.html"),
            ("/srv/www/a.html", "../../../b.html", "/b.html"),
            ("data/tour.html", "my%20page.html", "data/my page.html"),
            ("data/tour.html", "a%0Ab.html", "data/a%0Ab.html"),
            ("vivat://site/x/a.html", "../b.html", "vivat://site/b.html"),
            (
                "vivat://site/x/a.html",
                "../../b.html",
                "vivat://site/b.html",
            ),
            ("file:///srv/a.html", "b.html", "file:///srv/b.html"),
            (
                "s3://bucket/www/a b.html",
                "ü.html",
                "s3://bucket/www/ü.html",
            ),
        ] {
            assert_eq!(target(page, href), expected, "{href} of {page}");
        }
    }

    #[test]
    fn links_of_a_page_with_a_url_lead_to_urls_in_one_spelling() {
        let page = "https://A.example:443/x/y.html?q";
        for (href, expected) in [
            ("z.html", "https://a.example/x/z.html"),
            ("/z", "https://a.example/z"),
            ("../../z", "https://a.example/z"),
            ("//b.example", "https://b.example/"),
            ("HTTP://B.example:80/ü", "http://b.example/%C3%BC"),
            ("?p=2", "https://a.example/x/y.html?p=2"),
            ("ftp://b.example/x", "ftp://b.example/x"),
        ] {
            assert_eq!(target(page, href), expected, "{href}");
        }
        assert_eq!(target("tour.html", "//b.example/x"), "https://b.example/x");
        assert_eq!(target("tour.html", "http://B.example"), "http://b.example/");
    }

    #[test]
    fn links_within_the_page_and_to_no_page_are_none() {
        for href in [
            "#top",
            " ",
            "javascript:void(0)",
            "MAILTO:a@b.example",
            "data:,x",
        ] {
            assert_eq!(Page::of("a.html").target(href), None, "{href}");
        }
    }

    #[test]
    fn base_element_moves_all_links() {
        let moved = |page: &str, base: &str| Page::of(page).with_base(base);
        let page = moved("data/tour.html", "https://a.example/town/");
        let expected = "https://a.example/town/b.html";
        assert_eq!(page.target("b.html").as_deref(), Some(expected));
        let page = moved("data/tour.html", "sub/other.html");
        assert_eq!(page.target("b.html").as_deref(), Some("data/sub/b.html"));
        let page = moved("data/tour.html", "#nothing");
        assert_eq!(page.target("b.html").as_deref(), Some("data/b.html"));
    }
}
