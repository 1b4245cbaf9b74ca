//! Which cluster connections go to, by the server name (SNI) that a client asks for.

use std::collections::HashMap;

/// Clusters by server names.
#[derive(Debug, Clone, Default)]
pub struct ServerNames {
    exact: HashMap<String, usize>,
    /// What follows `*.`.
    wildcards: HashMap<String, usize>,
}

// === impl ServerNames ===

impl ServerNames {
    /// Whether no name leads anywhere, so that nobody need look for one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.wildcards.is_empty()
    }

    /// `name` is a name in lower case, or `*.` and one.
    pub fn insert(&mut self, name: &str, cluster: usize) {
        match name.strip_prefix("*.") {
            Some(rest) => self.wildcards.insert(rest.to_owned(), cluster),
            None => self.exact.insert(name.to_owned(), cluster),
        };
    }

    /// The cluster for a name in lower case: that of the name itself, else of the longest
    /// wildcard. As in Envoy, and unlike in certificates, a wildcard stands for any number of
    /// labels.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<usize> {
        let parents = std::iter::successors(Some(name), |name| Some(name.split_once('.')?.1));
        let wildcard = || {
            parents
                .skip(1)
                .find_map(|parent| self.wildcards.get(parent))
        };
        self.exact.get(name).or_else(wildcard).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_itself_goes_before_the_longest_wildcard() {
        let mut names = ServerNames::default();
        assert!(names.is_empty());
        for (cluster, name) in ["a.test", "*.test", "*.b.test", "c.b.test"]
            .iter()
            .enumerate()
        {
            names.insert(name, cluster);
        }
        assert!(!names.is_empty());
        for (name, cluster) in [
            ("a.test", Some(0)),
            ("x.a.test", Some(1)),
            ("b.test", Some(1)),
            ("x.b.test", Some(2)),
            ("y.x.b.test", Some(2)),
            ("c.b.test", Some(3)),
            ("x.c.b.test", Some(2)),
            ("test", None),
            ("atest", None),
            ("", None),
        ] {
            assert_eq!(names.find(name), cluster, "{name}");
        }
    }
}
