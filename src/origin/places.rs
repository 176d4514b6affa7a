//! Pure: the names that one zone's objects have in another zone of the same
//! store.

use std::collections::BTreeSet;

use super::settings::{Endpoint, Kind, Settings};
use crate::path::{CanonicalPath, collapsed};

impl Settings {
    /// Whether some object has a name in both.
    pub fn shares_objects_with(&self, other: &Self) -> bool {
        let within = |inner: &str, outer: &str| {
            let rest = inner.strip_prefix(outer);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let mut folders = self.folders_beside(other).into_iter();
        folders.any(|(ours, theirs)| within(&ours, &theirs) || within(&theirs, &ours))
    }

    /// What an object is called in another zone of the same store; with `begins`
    /// what those are called whose names begin so.
    pub fn names_in(&self, other: &Self, path: &str, begins: bool) -> BTreeSet<String> {
        // Whatever slashes a viewer puts into it.
        let ends = if begins && path.ends_with('/') {
            "/"
        } else {
            ""
        };
        let path = format!("{}{ends}", collapsed(path).trim_end_matches('/'));
        let name = |(ours, theirs): (String, String)| {
            let whole = format!("{ours}{path}");
            // Behind a folder comes a slash, of its own or of the object's name.
            match whole.strip_prefix(&theirs) {
                Some(name) if name.starts_with('/') => Some(name.to_owned()),
                _ if begins && format!("{theirs}/").starts_with(&whole) => Some("/".to_owned()),
                _ => None,
            }
        };
        self.folders_beside(other)
            .into_iter()
            .filter_map(name)
            .collect()
    }

    /// The folders of both at a host that both ask: of the same bucket, or under
    /// the same Host.
    fn folders_beside(&self, other: &Self) -> BTreeSet<(String, String)> {
        let beside = |one: &Endpoint, two: &Endpoint| {
            let same_host = one.host.eq_ignore_ascii_case(&two.host) && one.port == two.port;
            match (&self.kind, &other.kind) {
                (Kind::S3 { bucket, .. }, Kind::S3 { bucket: theirs, .. }) => {
                    let same = same_host && one.path == two.path && bucket == theirs;
                    same.then(|| (self.prefix.clone(), other.prefix.clone()))
                }
                (Kind::Http { .. }, Kind::Http { .. }) => {
                    let hosts = (self.host(one), other.host(two));
                    let same = same_host && hosts.0.eq_ignore_ascii_case(&hosts.1);
                    let folder = |of: &Self, at: &Endpoint| format!("{}{}", decoded(at), of.prefix);
                    same.then(|| (folder(self, one), folder(other, two)))
                }
                (Kind::S3 { .. }, Kind::Http { .. }) | (Kind::Http { .. }, Kind::S3 { .. }) => None,
            }
        };
        let pairs = self.endpoints.iter().flat_map(|one| {
            let theirs = other.endpoints.iter();
            theirs.filter_map(move |two| beside(one, two))
        });
        pairs.collect()
    }
}

/// An endpoint's path, as objects are named.
fn decoded(endpoint: &Endpoint) -> String {
    let path = CanonicalPath::parse(&endpoint.path);
    path.map_or_else(|_| endpoint.path.clone(), |path| path.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Environment};
    use std::path::Path;

    fn settings(origin: &str) -> Settings {
        let text = format!(
            "[listen]\nhttp = [\"127.0.0.1:0\"]\n[[zone]]\nname = \"a\"\nhostnames = [\"*\"]\n\
             [zone.token]\nrequired = false\n[zone.origin]\n{origin}\n"
        );
        let config = Config::parse("test", &text, Path::new("."), &Environment::from([]));
        config.expect("a configuration").zones.remove(0).origin
    }

    fn s3(bucket: &str, prefix: &str) -> Settings {
        let prefix = match prefix {
            "" => String::new(),
            prefix => format!("prefix = {prefix:?}\n"),
        };
        settings(&format!(
            "kind = \"s3\"\nendpoints = [\"http://127.0.0.1:1\"]\nbucket = {bucket:?}\n{prefix}"
        ))
    }

    fn http(endpoint: &str, prefix: &str) -> Settings {
        let prefix = match prefix {
            "" => String::new(),
            prefix => format!("prefix = {prefix:?}\n"),
        };
        settings(&format!(
            "kind = \"http\"\nendpoints = [{endpoint:?}]\n{prefix}"
        ))
    }

    #[test]
    fn an_object_has_its_own_name_in_each_zone_of_its_store() {
        let all = |bucket| s3(bucket, "");
        let table = [
            (all("m"), all("m"), "/v/a.ts", false, Some("/v/a.ts")),
            (all("m"), all("n"), "/v/a.ts", false, None),
            (all("m"), s3("m", "/v"), "/v/a.ts", false, Some("/a.ts")),
            (s3("m", "/v"), all("m"), "/a.ts", false, Some("/v/a.ts")),
            (all("m"), s3("m", "/v"), "/vod/a.ts", false, None),
            (all("m"), s3("m", "/v"), "/v", false, None),
            (
                s3("m", "/v/x"),
                s3("m", "/v"),
                "/a.ts",
                false,
                Some("/x/a.ts"),
            ),
            (s3("m", "/w"), s3("m", "/v"), "/a.ts", false, None),
            (all("m"), s3("m", "/v"), "//v///a.ts", false, Some("/a.ts")),
            (all("m"), s3("m", "/v"), "/v//s1//", true, Some("/s1/")),
            (all("m"), s3("m", "/v"), "/v/s1/", true, Some("/s1/")),
            (all("m"), s3("m", "/v"), "/v/", true, Some("/")),
            (all("m"), s3("m", "/v"), "/v", true, Some("/")),
            (all("m"), s3("m", "/v/x"), "/v/", true, Some("/")),
            (all("m"), s3("m", "/vod"), "/v/", true, None),
            (all("m"), s3("m", "/v"), "/", true, Some("/")),
            (s3("m", "/v"), all("m"), "/", true, Some("/v/")),
            (
                http("http://127.0.0.1:1", ""),
                http("http://127.0.0.1:1/a%20b", "/c"),
                "/a b/c/d.ts",
                false,
                Some("/d.ts"),
            ),
            (
                http("http://127.0.0.1:1", ""),
                http("http://127.0.0.1:2", ""),
                "/d.ts",
                false,
                None,
            ),
            (
                all("m"),
                http("http://127.0.0.1:1", ""),
                "/d.ts",
                false,
                None,
            ),
        ];
        for (ours, theirs, path, begins, want) in table {
            let found = ours.names_in(&theirs, path, begins);
            let want = BTreeSet::from_iter(want.map(str::to_owned));
            let told = format!("{} {} {path} {begins}", ours.prefix, theirs.prefix);
            assert_eq!(found, want, "{told}");
            assert!(
                want.is_empty() || ours.shares_objects_with(&theirs),
                "{told}"
            );
            assert!(
                want.is_empty() || theirs.shares_objects_with(&ours),
                "{told}"
            );
        }
        assert!(!s3("m", "/v").shares_objects_with(&s3("m", "/vod")));
        assert!(!all("m").shares_objects_with(&all("n")));
    }
}
