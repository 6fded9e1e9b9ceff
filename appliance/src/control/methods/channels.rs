//! Which hunts are listened to, and by how many.
//!
//! The journal core gives them some at a time, so that events need not wait behind a long list; the list is
//! therefore of no one moment. Matching happens here.

use std::collections::BTreeMap;

use engine::session::codes::Error;
use globset::{Glob, GlobMatcher};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::control::api::Api;
use crate::control::methods::{Failure, parse};

#[derive(Debug, Deserialize)]
struct Request {
    #[serde(default)]
    pattern: String,
}

#[derive(Debug, Serialize)]
struct Listeners {
    num_clients: u32,
}

/// The hunts with subscribers whose names match a pattern: all of the name, `*` for anything, `?` for one
/// character, `[a-c]`, `[!a-c]`, `{a,b}`, and `\` before what stands for itself. Without a pattern, all.
pub(super) async fn channels(api: &Api, body: &[u8]) -> Result<String, Failure> {
    let Request { pattern } = parse(body)?;
    let matcher = matcher(&pattern)?;
    let mut channels = BTreeMap::new();
    let mut next = Some(0);
    while let Some(from) = next {
        let listened = api.journal.listened(from).await?;
        next = listened.next;
        for (name, num_clients) in listened.hunts {
            if matcher
                .as_ref()
                .is_none_or(|matcher| matcher.is_match(&name))
            {
                channels.insert(name, Listeners { num_clients });
            }
        }
    }
    Ok(json!({"channels": channels}).to_string())
}

fn matcher(pattern: &str) -> Result<Option<GlobMatcher>, Error> {
    if pattern.is_empty() {
        return Ok(None);
    }
    let glob = Glob::new(pattern).map_err(|_| Error::BadRequest)?;
    Ok(Some(glob.compile_matcher()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_globs() {
        let cases = [
            ("chat:*", "chat:a/b:c", true),
            ("chat:*", "chats:1", false),
            ("*:index", "chat:index", true),
            ("chat:?", "chat:12", false),
            ("chat:[0-9]", "chat:7", true),
            ("chat:[!0-9]", "chat:7", false),
            ("{chat,news}:1", "news:1", true),
            (r"a\*", "a*", true),
            (r"a\*", "ab", false),
        ];
        for (pattern, name, is_match) in cases {
            let matcher = matcher(pattern).unwrap().unwrap();
            assert_eq!(matcher.is_match(name), is_match, "{pattern} {name}");
        }
        assert!(matcher("").unwrap().is_none());
        assert_eq!(matcher("[").unwrap_err(), Error::BadRequest);
    }
}
