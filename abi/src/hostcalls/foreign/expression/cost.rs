//! What an evaluation can cost at most, worked out from the expression and the size of
//! what it speaks of.
//!
//! CEL always ends, but a few nested macros over a list end late, and a chain of them
//! makes values that double with every link. So every node is given an upper bound of the
//! size of its value, and of the work to get there. Every attribute counts as if it were
//! all of them, every element as if it were its list's largest: the bound is generous,
//! never short.

use cel::Value as Cel;
use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators,
};

/// Most instructions one evaluation may cost.
const MOST: u64 = 50_000_000;
/// Instructions that a node costs.
const NODE: u64 = 150;
/// Bytes that a byte of text costs an instruction of (a copy, a comparison).
const BYTES: u64 = 8;
/// Largest program of a regular expression, in bytes; and what making one of it costs.
pub(super) const PATTERN: usize = 64 << 10;
const COMPILE: u64 = 100_000;
/// A number as text, and the like.
const TEXT: usize = 40;

/// An upper bound of a value's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Size {
    /// Elements it has itself.
    count: u64,
    /// The value, its elements, theirs, and so on.
    items: u64,
    /// Likewise for its largest element.
    largest: u64,
    /// Bytes of all texts in it.
    pub(super) bytes: u64,
}

/// Instructions that evaluating costs at most; `None` when that is more than any
/// evaluation may. And what it has cost to work that out: macros in one another are looked
/// at twice for each.
pub(super) fn of(expression: &IdedExpr, attributes: Size) -> (Option<u64>, u64) {
    /// Of one node.
    const LOOK: u64 = 100;
    let mut walk = Walk {
        attributes,
        bound: Vec::new(),
        looked: 0,
    };
    let (_, cost) = walk.node(&expression.expr);
    ((cost <= MOST).then_some(cost), walk.looked * LOOK)
}

struct Walk<'e> {
    attributes: Size,
    /// Names bound by macros around the node, innermost last.
    bound: Vec<(&'e str, Size)>,
    /// Nodes looked at.
    looked: u64,
}

// === impl Size ===

impl Size {
    const NONE: Self = Self::scalar(0);

    /// Of all of them as if they were one.
    pub(super) fn of<'v>(values: impl Iterator<Item = &'v Cel>) -> Self {
        values.fold(Self::default(), |sum, value| sum.plus(Self::of_one(value)))
    }

    fn of_one(value: &Cel) -> Self {
        match value {
            Cel::String(text) => Self::scalar(text.len()),
            Cel::Bytes(bytes) => Self::scalar(bytes.len()),
            Cel::List(elements) => elements
                .iter()
                .fold(Self::NONE, |sum, element| sum.with(Self::of_one(element))),
            Cel::Map(map) => map.map.iter().fold(Self::NONE, |sum, (key, value)| {
                let key = match key {
                    cel::objects::Key::String(text) => text.len(),
                    _ => 8,
                };
                sum.with(Self::scalar(key)).with(Self::of_one(value))
            }),
            _ => Self::scalar(8),
        }
    }

    const fn scalar(bytes: usize) -> Self {
        Self {
            count: 0,
            items: 1,
            largest: 0,
            bytes: bytes as u64,
        }
    }

    /// Of the two put together, as lists are.
    fn plus(self, other: Self) -> Self {
        Self {
            count: self.count.saturating_add(other.count),
            items: self.items.saturating_add(other.items),
            largest: self.largest.max(other.largest),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }

    /// With one more element.
    fn with(self, element: Self) -> Self {
        Self {
            count: self.count.saturating_add(1),
            items: self.items.saturating_add(element.items),
            largest: self.largest.max(element.items),
            bytes: self.bytes.saturating_add(element.bytes),
        }
    }

    /// Of either.
    fn or(self, other: Self) -> Self {
        Self {
            count: self.count.max(other.count),
            items: self.items.max(other.items),
            largest: self.largest.max(other.largest),
            bytes: self.bytes.max(other.bytes),
        }
    }

    /// Of any of its elements.
    const fn element(self) -> Self {
        Self {
            count: self.largest,
            items: self.largest,
            largest: self.largest,
            bytes: self.bytes,
        }
    }

    const fn times(self, count: u64) -> Self {
        Self {
            count: self.count.saturating_mul(count),
            items: self.items.saturating_mul(count),
            largest: self.largest,
            bytes: self.bytes.saturating_mul(count),
        }
    }

    /// What looking at all of it costs.
    const fn look(self) -> u64 {
        self.items
            .saturating_mul(NODE)
            .saturating_add(self.bytes / BYTES)
    }
}

// === impl Walk ===

impl<'e> Walk<'e> {
    /// Size of the value, and cost of getting it.
    fn node(&mut self, expr: &'e Expr) -> (Size, u64) {
        self.looked += 1;
        match expr {
            Expr::Unspecified => (Size::NONE, NODE),
            Expr::Literal(literal) => {
                let bytes = match literal {
                    LiteralValue::String(text) => text.inner().len(),
                    LiteralValue::Bytes(bytes) => bytes.inner().len(),
                    _ => 8,
                };
                (Size::scalar(bytes), NODE)
            }
            Expr::Ident(name) => {
                let bound = self.bound.iter().rev().find(|(known, _)| known == name);
                let size = bound.map_or(self.attributes, |(_, size)| *size);
                (size, NODE.saturating_add(size.look()))
            }
            Expr::Select(select) => {
                let (size, cost) = self.node(&select.operand.expr);
                let cost = cost.saturating_add(NODE).saturating_add(size.look());
                // An attribute is not known to be one that has elements.
                (size.or(size.element()), cost)
            }
            Expr::Call(call) => self.call(call),
            Expr::List(list) => {
                let elements = list.elements.iter().map(|element| &element.expr);
                self.gather(elements)
            }
            Expr::Map(map) => self.entries(map.entries.iter().map(|entry| &entry.expr)),
            Expr::Struct(all) => self.entries(all.entries.iter().map(|entry| &entry.expr)),
            Expr::Comprehension(all) => self.comprehension(all),
        }
    }

    fn call(&mut self, call: &'e CallExpr) -> (Size, u64) {
        let parts = call.target.iter().map(|target| &target.expr);
        let parts = parts.chain(call.args.iter().map(|arg| &arg.expr));
        let mut sizes = Vec::new();
        let mut cost = if call.func_name == "matches" {
            COMPILE
        } else {
            NODE
        };
        for part in parts {
            let (size, spent) = self.node(part);
            cost = cost.saturating_add(spent).saturating_add(size.look());
            sizes.push(size);
        }
        let all = || sizes.iter().fold(Size::NONE, |sum, size| sum.plus(*size));
        let size = match (call.func_name.as_str(), &sizes[..]) {
            (operators::CONDITIONAL, [_, yes, no]) => yes.or(*no),
            (operators::INDEX, [whole, _]) => whole.or(whole.element()),
            (operators::ADD, _) => all(),
            (name, _) if is_scalar(name) => Size::scalar(8),
            // Whatever it makes of them: a number may become a text.
            _ => all().plus(Size::scalar(TEXT)),
        };
        (size, cost.saturating_add(size.look()))
    }

    fn gather(&mut self, elements: impl Iterator<Item = &'e Expr>) -> (Size, u64) {
        let (size, cost) = elements.fold((Size::NONE, NODE), |(size, cost), element| {
            let (more, spent) = self.node(element);
            (size.with(more), cost.saturating_add(spent))
        });
        (size, cost.saturating_add(size.look()))
    }

    fn entries(&mut self, entries: impl Iterator<Item = &'e EntryExpr>) -> (Size, u64) {
        let mut parts = Vec::new();
        for entry in entries {
            match entry {
                EntryExpr::MapEntry(entry) => parts.extend([&entry.key.expr, &entry.value.expr]),
                EntryExpr::StructField(field) => parts.push(&field.value.expr),
            }
        }
        self.gather(parts.into_iter())
    }

    /// One round adds to what is gathered what a round gathers from nothing; the macros
    /// have no other way of gathering, and nobody can write a comprehension by hand.
    fn comprehension(&mut self, all: &'e ComprehensionExpr) -> (Size, u64) {
        let (range, cost) = self.node(&all.iter_range.expr);
        let (init, more) = self.node(&all.accu_init.expr);
        let cost = cost.saturating_add(more);
        let outer = self.bound.len();
        self.bound.push((&all.iter_var, range.element()));
        if let Some(second) = &all.iter_var2 {
            self.bound.push((second, range.element()));
        }
        self.bound.push((&all.accu_var, Size::default()));
        let gathered = self.bound.len() - 1;
        let (round, _) = self.node(&all.loop_step.expr);
        let gathers = init.plus(round.times(range.count));
        self.bound[gathered].1 = gathers;
        let (_, step) = self.node(&all.loop_step.expr);
        let (_, condition) = self.node(&all.loop_cond.expr);
        let rounds = step.saturating_add(condition).saturating_mul(range.count);
        let (_, result) = self.node(&all.result.expr);
        self.bound.truncate(outer);
        let cost = cost.saturating_add(rounds).saturating_add(result);
        (gathers, cost)
    }
}

/// Functions whose value is a truth or a number, whatever they are given.
fn is_scalar(name: &str) -> bool {
    matches!(
        name,
        operators::EQUALS
            | operators::NOT_EQUALS
            | operators::LESS
            | operators::LESS_EQUALS
            | operators::GREATER
            | operators::GREATER_EQUALS
            | operators::LOGICAL_AND
            | operators::LOGICAL_OR
            | operators::LOGICAL_NOT
            | operators::NOT_STRICTLY_FALSE
            | operators::IN
            | operators::SUBSTRACT
            | operators::MULTIPLY
            | operators::DIVIDE
            | operators::MODULO
            | operators::NEGATE
            | "size"
            | "matches"
            | "contains"
            | "startsWith"
            | "endsWith"
    )
}
