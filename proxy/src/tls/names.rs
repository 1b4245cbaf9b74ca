//! Which certificate is for which name.
//!
//! As in nginx and Envoy: the name itself before a wildcard, and the default for whatever
//! else is asked for. A wildcard stands for one label, as in certificates themselves.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::pair::Pair;
use super::settings::PairFiles;
use super::{TlsError, Whose, certificate};

/// Chooses by the name a client asks for.
#[derive(Debug)]
pub(super) struct Names {
    /// The default first.
    pub(super) pairs: Vec<Pair>,
    exact: HashMap<String, usize>,
    /// What follows `*.`.
    wildcards: HashMap<String, usize>,
    refuse_unknown: bool,
}

// === impl Names ===

impl Names {
    /// `pairs` have the positions of theirs in `files`; where some are missing, what is made is
    /// of no use, but its errors are.
    ///
    /// # Errors
    /// Every name that two of them claim, and every certificate that no client could ask for.
    pub(super) fn new(
        pairs: Vec<(usize, Pair)>,
        files: &[PairFiles],
        refuse_unknown: bool,
    ) -> Result<Self, Vec<TlsError>> {
        let mut names = Self {
            pairs: Vec::new(),
            exact: HashMap::new(),
            wildcards: HashMap::new(),
            refuse_unknown,
        };
        let mut errors = Vec::new();
        for (index, pair) in &pairs {
            let index = *index;
            let claimed = names_of(pair, &files[index]);
            if claimed.is_empty() && index > 0 {
                let what = "this certificate has no DNS name, so no client could ask for it; \
                            write the names it is for as `names`";
                errors.push(TlsError::new(Whose::Certificate(index), what));
            }
            for name in claimed {
                let (map, key) = match name.strip_prefix("*.") {
                    Some(rest) => (&mut names.wildcards, rest.to_owned()),
                    None => (&mut names.exact, name.clone()),
                };
                match map.insert(key, index) {
                    Some(other) if other != index => {
                        let what = format!(
                            "the name {name} is claimed by {} too; give it to one of the two with \
                             `names`",
                            files[other].certificate.display()
                        );
                        errors.push(TlsError::new(Whose::Names(index), what));
                    }
                    _ => {}
                }
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        names.pairs = pairs.into_iter().map(|(_, pair)| pair).collect();
        Ok(names)
    }

    /// What a client that asks for `name` is shown.
    pub(super) fn find(&self, name: Option<&str>) -> Option<&Pair> {
        let named = name.and_then(|name| {
            if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
                self.named(&name.to_ascii_lowercase())
            } else {
                self.named(name)
            }
        });
        match named {
            Some(index) => self.pairs.get(index),
            None if self.refuse_unknown => None,
            None => self.pairs.first(),
        }
    }

    fn named(&self, name: &str) -> Option<usize> {
        let wildcard = || self.wildcards.get(name.split_once('.')?.1);
        self.exact.get(name).or_else(wildcard).copied()
    }

    /// The declared names that a certificate is not for, with the file it is in.
    pub(super) fn uncovered<'n>(
        &'n self,
        files: &'n [PairFiles],
    ) -> impl Iterator<Item = (&'n Pair, &'n str)> {
        self.pairs.iter().zip(files).flat_map(|(pair, files)| {
            let own = certificate::dns_names(&pair.leaf);
            let names = files.names.iter().flatten();
            names
                .filter(move |name| !own.iter().any(|own| covers(own, name)))
                .map(move |name| (pair, name.as_str()))
        })
    }
}

impl ResolvesServerCert for Names {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let pair = self.find(hello.server_name())?;
        Some(pair.certified.clone())
    }
}

fn names_of(pair: &Pair, files: &PairFiles) -> Vec<String> {
    match &files.names {
        Some(names) => names.clone(),
        None => {
            let mut names = certificate::dns_names(&pair.leaf);
            names
                .iter_mut()
                .for_each(|name| name.make_ascii_lowercase());
            names
        }
    }
}

/// Whether a certificate's DNS name is for `name`, which may be a wildcard itself.
pub(super) fn covers(own: &str, name: &str) -> bool {
    if own.eq_ignore_ascii_case(name) {
        return true;
    }
    match (own.strip_prefix("*."), name.split_once('.')) {
        (Some(own), Some((label, rest))) => label != "*" && own.eq_ignore_ascii_case(rest),
        _ => false,
    }
}
