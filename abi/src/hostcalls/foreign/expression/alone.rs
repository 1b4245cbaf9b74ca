//! An expression that no guest has given: the embedder's own, over an exchange that is over.

use std::convert::Infallible;

use super::{Compiled, cost, references, values};
use crate::exchange::Exchange;
use crate::hostcalls::properties;
use crate::property::Value;

/// A CEL expression over the attributes that `proxy_get_property` reads (section 7).
pub struct Expression(Compiled);

// === impl Expression ===

impl Expression {
    /// Parses it, within the bounds that guests have too.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        Compiled::parse(text.as_bytes()).map(Self)
    }

    /// Its value for this exchange; `None` where there is none, where it fails, and where it
    /// could cost more than a guest's may.
    #[must_use]
    pub fn evaluate(&self, exchange: &Exchange) -> Option<Value> {
        let Self(compiled) = self;
        if let Some(path) = references::path(&compiled.expression.expr) {
            let path: Vec<&[u8]> = path.iter().map(String::as_bytes).collect();
            if let Some(found) = properties::of_exchange(exchange, &path) {
                return Some(found);
            }
        }
        let found = |path: &[&[u8]]| Ok::<_, Infallible>(properties::of_exchange(exchange, path));
        let Ok(variables) = compiled.variables(found);
        let size = cost::Size::of(variables.values());
        let (cost, _) = cost::of(&compiled.expression, size);
        cost?;
        let value = compiled.resolve(variables).ok()?;
        Some(values::from_cel(value))
    }
}

impl std::fmt::Debug for Expression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Expression").finish_non_exhaustive()
    }
}
