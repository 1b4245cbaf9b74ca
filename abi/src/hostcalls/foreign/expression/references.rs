//! Which attributes an expression speaks of, so that only those are looked up.

use cel::common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue, operators};

/// One attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    /// `request.headers` is `["request", "headers"]`.
    pub(super) path: Vec<String>,
    /// A part of it that is named by a literal index, or asked for by `has`.
    pub(super) part: Option<String>,
}

/// All of them, in the order they are written; names that a macro binds are among them
/// and are found nowhere.
pub(super) fn of(expression: &IdedExpr) -> Vec<Reference> {
    let mut found = Vec::new();
    walk(&expression.expr, &mut found);
    found
}

/// Whether nothing in it is nested deeper than `most`, and no macro in more than
/// `macros` others. Does not recurse itself: the question is whether anybody may.
pub(super) fn is_shallow(expression: &IdedExpr, most: usize, macros: usize) -> bool {
    let mut waiting = vec![(&expression.expr, 1, 0)];
    while let Some((expr, depth, around)) = waiting.pop() {
        if depth > most || around > macros {
            return false;
        }
        let around = around + usize::from(matches!(expr, Expr::Comprehension(_)));
        each_child(expr, |child| waiting.push((child, depth + 1, around)));
    }
    true
}

fn walk(expr: &Expr, found: &mut Vec<Reference>) {
    if let Some(path) = path(expr) {
        return found.push(Reference { path, part: None });
    }
    let (operand, part) = match expr {
        Expr::Select(select) => (Some(&select.operand.expr), Some(select.field.clone())),
        Expr::Call(call) if call.func_name == operators::INDEX => match &call.args[..] {
            [operand, index] => (Some(&operand.expr), text(&index.expr)),
            _ => (None, None),
        },
        _ => (None, None),
    };
    if let (Some(path), Some(part)) = (operand.and_then(path), part) {
        let part = Some(part);
        return found.push(Reference { path, part });
    }
    each_child(expr, |child| walk(child, found));
}

/// The path an expression spells: an identifier, or fields of one.
pub(super) fn path(expr: &Expr) -> Option<Vec<String>> {
    match expr {
        Expr::Ident(name) => Some(vec![name.trim_start_matches('.').to_owned()]),
        Expr::Select(select) if !select.test => {
            let mut path = path(&select.operand.expr)?;
            path.push(select.field.clone());
            Some(path)
        }
        _ => None,
    }
}

fn text(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner().to_owned()),
        _ => None,
    }
}

/// Calls `see` with every expression directly inside this one.
pub(super) fn each_child<'e>(expr: &'e Expr, mut see: impl FnMut(&'e Expr)) {
    match expr {
        Expr::Call(call) => {
            call.target.iter().for_each(|target| see(&target.expr));
            call.args.iter().for_each(|arg| see(&arg.expr));
        }
        Expr::Comprehension(all) => {
            for part in [
                &all.iter_range,
                &all.accu_init,
                &all.loop_cond,
                &all.loop_step,
                &all.result,
            ] {
                see(&part.expr);
            }
        }
        Expr::List(list) => list.elements.iter().for_each(|element| see(&element.expr)),
        Expr::Map(map) => map
            .entries
            .iter()
            .for_each(|entry| entry_of(&entry.expr, &mut see)),
        Expr::Struct(all) => all
            .entries
            .iter()
            .for_each(|entry| entry_of(&entry.expr, &mut see)),
        Expr::Select(select) => see(&select.operand.expr),
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
    }
}

fn entry_of<'e>(entry: &'e EntryExpr, see: &mut impl FnMut(&'e Expr)) {
    match entry {
        EntryExpr::MapEntry(entry) => {
            see(&entry.key.expr);
            see(&entry.value.expr);
        }
        EntryExpr::StructField(field) => see(&field.value.expr),
    }
}
