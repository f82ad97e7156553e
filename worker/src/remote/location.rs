//! URLs: what they name, and how they are shown.

use url::Url;

/// Who is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Scheme {
    /// `s3://BUCKET/KEY`
    S3,
    /// `gs://BUCKET/KEY`
    Google,
    /// `az://CONTAINER/KEY`
    Azure,
    /// `http://` and `https://`
    Web,
}

/// What a URL names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) scheme: Scheme,
    /// Bucket or container; of the web the whole URL.
    pub(crate) bucket: String,
    /// As the user wrote it: keys of object stores are not percent-encoded.
    pub(crate) key: String,
}

impl Location {
    /// Takes a URL apart.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it, without repeating it.
    pub(crate) fn parse(url: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = url.split_once("://").ok_or("not a URL")?;
        let scheme = match scheme {
            "s3" => Scheme::S3,
            "gs" => Scheme::Google,
            "az" => Scheme::Azure,
            "http" | "https" => return web(url),
            _ => return Err("not one of s3://, gs://, az://, http:// and https://"),
        };
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.contains(['@', ':']) {
            return Err(NO_CREDENTIALS);
        }
        if bucket.is_empty() || bucket.contains(char::is_whitespace) {
            return Err("it names no bucket");
        }
        Ok(Self {
            scheme,
            bucket: bucket.to_owned(),
            key: key.to_owned(),
        })
    }
}

const NO_CREDENTIALS: &str = "credentials in a URL would be kept in the job for everybody to \
    read: give them to the workers by their environment";

fn web(url: &str) -> Result<Location, &'static str> {
    let parsed = Url::parse(url).map_err(|_| "not a URL")?;
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(NO_CREDENTIALS);
    }
    if parsed.cannot_be_a_base() || parsed.host_str().is_none() {
        return Err("it names no host");
    }
    Ok(Location {
        scheme: Scheme::Web,
        bucket: url.to_owned(),
        key: String::new(),
    })
}

/// A URL as it may be shown: without its query, which may be signed, and without
/// what stands before an `@` in its host. Glob characters are no query.
pub(crate) fn shown(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let rest = if scheme.starts_with("http") {
        rest.split(['?', '#']).next().unwrap_or_default()
    } else {
        rest
    };
    let (host, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, ""),
    };
    let host = host.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_is_what_the_user_wrote_behind_the_bucket() {
        let location = Location::parse("s3://logs/2016/a b%20#?.txt").unwrap();
        assert_eq!(location.bucket, "logs");
        assert_eq!(location.key, "2016/a b%20#?.txt");
        assert_eq!(Location::parse("gs://b").unwrap().key, "");
        assert_eq!(Location::parse("az://b/").unwrap().key, "");
    }

    #[test]
    fn url_with_credentials_or_without_a_place_is_refused_without_being_repeated() {
        for url in [
            "https://ada:secret@host/x",
            "https://ada@host/x",
            "s3://key:secret@bucket/x",
            "s3:///x",
            "https:///",
            "ftp://host/x",
            "x",
        ] {
            let reason = Location::parse(url).unwrap_err();
            assert!(!reason.contains("secret"), "{reason}");
        }
    }

    #[test]
    fn what_is_shown_holds_no_query_and_no_credentials() {
        for (url, expected) in [
            ("https://h/a.gz?X-Amz-Signature=secret", "https://h/a.gz"),
            ("https://ada:secret@h:8/a#secret", "https://h:8/a"),
            ("https://h?secret", "https://h"),
            ("s3://key:secret@b/x@y", "s3://b/x@y"),
            ("s3://b/a?.txt", "s3://b/a?.txt"),
            ("in/put", "in/put"),
        ] {
            assert_eq!(shown(url), expected);
        }
    }
}
