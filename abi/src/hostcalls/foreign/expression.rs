//! `expr_create`, `expr_evaluate`, `expr_delete`: CEL over the attributes that
//! `proxy_get_property` reads.
//!
//! Expressions belong to a root, as in Envoy. They are parsed with bounds on their length,
//! depth and size. What an evaluation can cost at most is worked out beforehand
//! ([`cost`]) and charged; one that could cost too much is not begun.

mod alone;
mod cost;
mod references;
mod values;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use cel::parser::{Expression, PrattParser};
use cel::{Context, ExecutionError, Value as Cel};

use super::{Answer, charge};
use crate::guest::GuestCaller;
use crate::hostcalls::properties;
use crate::property::Value;
use crate::state::HostState;
use crate::types::Status;
use references::Reference;

pub use alone::Expression as LoneExpression;

/// Longest expression, in bytes.
const MAX_TEXT: usize = 2 << 10;
/// Most nodes, macros expanded.
const MAX_NODES: usize = 2_000;
/// Deepest nesting of what is written, and of what it becomes.
const MAX_NESTING: u16 = 32;
const MAX_DEPTH: usize = 96;
/// Most macros in one another: looking at what they cost takes twice as long for each.
const MAX_MACROS: usize = 8;
/// Most expressions of one root.
const MAX_EXPRESSIONS: usize = 1_000;
/// Instructions that a byte of text costs to parse.
const PARSE: u64 = 200;

/// The expressions of a root.
#[derive(Default)]
pub(crate) struct Expressions {
    next: u32,
    held: BTreeMap<u32, Rc<Compiled>>,
}

struct Compiled {
    expression: Expression,
    /// The attributes it speaks of.
    references: Vec<Reference>,
}

pub(super) fn create<C: GuestCaller>(caller: &mut C, args: Bytes) -> Answer {
    charge(caller, args.len().min(MAX_TEXT), PARSE)?;
    let compiled = Compiled::parse(&args).map_err(|why| {
        caller
            .state()
            .notice(format_args!("expr_create: refused: {why}"));
        Status::BadArgument
    })?;
    let token = own(caller.state())?.add(compiled)?;
    Ok(Bytes::copy_from_slice(&token.to_le_bytes()))
}

pub(super) fn evaluate<C: GuestCaller>(caller: &mut C, args: Bytes) -> Answer {
    let token = token(&args)?;
    let held = own(caller.state())?.held.get(&token);
    let compiled = held.cloned().ok_or(Status::NotFound)?;
    // A path alone is that property, whatever kind of value it has.
    if let Some(path) = references::path(&compiled.expression.expr) {
        let path: Vec<&[u8]> = path.iter().map(String::as_bytes).collect();
        if let Some(found) = properties::look(caller, &path)? {
            return Ok(found.encode().ok_or(Status::SerializationFailure)?);
        }
    }
    let variables = compiled.variables(|path| properties::look(caller, path))?;
    let size = cost::Size::of(variables.values());
    charge(caller, usize::try_from(size.bytes).unwrap_or(usize::MAX), 1)?;
    let (cost, looked) = cost::of(&compiled.expression, size);
    caller.charge(looked)?;
    let Some(cost) = cost else {
        caller.state().notice(format_args!(
            "expr_evaluate: could cost too much, not begun"
        ));
        return Err(Status::InternalFailure.into());
    };
    caller.charge(cost)?;
    match compiled.resolve(variables) {
        Ok(value) => {
            let encoded = values::from_cel(value).encode();
            Ok(encoded.ok_or(Status::SerializationFailure)?)
        }
        Err(error) => {
            caller
                .state()
                .notice(format_args!("expr_evaluate: {error}"));
            Err(Status::InternalFailure.into())
        }
    }
}

/// Deleting what is not there is no mistake.
pub(super) fn delete<C: GuestCaller>(caller: &mut C, args: Bytes) -> Answer {
    let token = token(&args)?;
    own(caller.state())?.held.remove(&token);
    Ok(Bytes::new())
}

fn token(args: &[u8]) -> Result<u32, Status> {
    let bytes: [u8; 4] = args.try_into().map_err(|_| Status::BadArgument)?;
    Ok(u32::from_le_bytes(bytes))
}

fn own(state: &mut HostState) -> Result<&mut Expressions, Status> {
    let (_, root) = state.root().ok_or(Status::NotFound)?;
    Ok(&mut root.expressions)
}

/// CEL's `matches`: linear in the text, with a small pattern. The pattern counts as part
/// of what [`cost`] has seen.
fn matches(
    text: cel::extractors::This<Arc<String>>,
    pattern: Arc<String>,
) -> Result<bool, ExecutionError> {
    let pattern = regex::RegexBuilder::new(&pattern)
        .size_limit(cost::PATTERN)
        .dfa_size_limit(cost::PATTERN)
        .nest_limit(32)
        .build()
        .map_err(|error| ExecutionError::FunctionError {
            function: "matches".to_owned(),
            message: error.to_string(),
        })?;
    Ok(pattern.is_match(&text.0))
}

// === impl Expressions ===

impl Expressions {
    fn add(&mut self, compiled: Compiled) -> Result<u32, Status> {
        if self.held.len() >= MAX_EXPRESSIONS {
            return Err(Status::InternalFailure);
        }
        // There are far fewer than numbers.
        while self.held.contains_key(&self.next) {
            self.next = self.next.wrapping_add(1);
        }
        let token = self.next;
        self.next = self.next.wrapping_add(1);
        self.held.insert(token, Rc::new(compiled));
        Ok(token)
    }
}

// === impl Compiled ===

impl Compiled {
    fn parse(text: &[u8]) -> Result<Self, String> {
        if text.len() > MAX_TEXT {
            return Err(format!("longer than {MAX_TEXT} bytes"));
        }
        let text = std::str::from_utf8(text).map_err(|error| error.to_string())?;
        let expression = PrattParser::new()
            .max_recursion_depth(MAX_NESTING)
            .max_expression_node_count(MAX_NODES)
            .parse(text)
            .map_err(|errors| errors.to_string())?;
        if !references::is_shallow(&expression, MAX_DEPTH, MAX_MACROS) {
            return Err(format!(
                "nested deeper than {MAX_DEPTH}, or {MAX_MACROS} macros"
            ));
        }
        let references = references::of(&expression);
        Ok(Self {
            expression,
            references,
        })
    }

    /// What there is now of what it speaks of, by the names the interpreter looks for:
    /// `request.path` is one variable, so that nothing else of the request is asked for.
    fn variables<E>(
        &self,
        mut find: impl FnMut(&[&[u8]]) -> Result<Option<Value>, E>,
    ) -> Result<BTreeMap<String, Cel>, E> {
        let mut whole: BTreeMap<String, Value> = BTreeMap::new();
        let mut parts: BTreeMap<String, Vec<(Bytes, Value)>> = BTreeMap::new();
        let mut look = |path: &[&str], last: Option<&str>| {
            let path: Vec<&[u8]> = path
                .iter()
                .copied()
                .chain(last)
                .map(str::as_bytes)
                .collect();
            find(&path)
        };
        for reference in &self.references {
            let path: Vec<&str> = reference.path.iter().map(String::as_str).collect();
            let name = reference.path.join(".");
            match (&reference.part, look(&path, reference.part.as_deref())?) {
                (None, Some(value)) => drop(whole.insert(name, value)),
                (Some(part), found) => {
                    // The whole it is a part of, where that is a value of its own.
                    if !whole.contains_key(&name)
                        && let Some(value) = look(&path, None)?
                    {
                        whole.insert(name.clone(), value);
                    }
                    let parts = parts.entry(name).or_default();
                    parts.extend(found.map(|value| (part.clone().into(), value)));
                }
                (None, None) => {}
            }
        }
        for (name, found) in parts {
            let value = match whole.remove(&name) {
                None | Some(Value::Unserialisable) => Value::Struct(found),
                // `request.headers['X-A']`: names in any case are the embedder's business.
                Some(Value::Map(pairs)) => {
                    let pairs = pairs
                        .into_iter()
                        .map(|(name, value)| (name, Value::Bytes(value)));
                    Value::Struct(pairs.chain(found).collect())
                }
                Some(value) => value,
            };
            whole.insert(name, value);
        }
        Ok(whole
            .into_iter()
            .filter_map(|(name, value)| Some((name, values::to_cel(value)?)))
            .collect())
    }
}

impl Compiled {
    /// Its value, where `variables` are what there is. What that can cost is looked at before.
    fn resolve(&self, variables: BTreeMap<String, Cel>) -> Result<Cel, ExecutionError> {
        let mut context = Context::default();
        context
            .add_function("matches", matches)
            .map_err(|error| ExecutionError::InternalError(error.to_string()))?;
        for (name, value) in variables {
            context.add_variable_from_value(name, value);
        }
        Cel::resolve(&self.expression, &context)
    }
}

impl std::fmt::Debug for Expressions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Expressions")
            .field("held", &self.held.len())
            .finish_non_exhaustive()
    }
}
