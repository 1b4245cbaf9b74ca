//! A detour around a mistake of wasmi 2.0.0, which `make fuzz-engines` has found.
//!
//! Where the condition of a `select` is a comparison of a value in memory with zero, the
//! interpreter leaves the comparison out and chooses by it all the same, that is by whatever
//! the last instruction has left (`try_fuse_select` in its translator: the condition is not
//! replaced by the operand). `x == 0 ? 1 : x` may be 0 then. What stands directly before a
//! `select` is not left out when something else comes between: a constant that is dropped,
//! which costs the interpreter nothing. To be taken out with the version of wasmi that needs
//! it no more; `abi/tests/all/engines.rs` has the tests.

use std::borrow::Cow;
use std::ops::Range;

use wasmparser::{BinaryReaderError, FunctionBody, Operator, Parser, Payload};

/// `i32.const 0`, `drop`.
const BETWEEN: [u8; 3] = [0x41, 0x00, 0x1a];

/// The number of the code section.
const CODE: u8 = 10;

/// The functions of a module.
#[derive(Default)]
struct Functions {
    /// Where their section begins, its head included, and where it ends.
    section: Range<usize>,
    bodies: Vec<Body>,
}

/// One function.
struct Body {
    range: Range<usize>,
    /// Where its choices are.
    selects: Vec<usize>,
}

/// The module with something before each of its choices. What cannot be read is left as it
/// is, for the interpreter to say.
pub(super) fn mended(wasm: &[u8]) -> Cow<'_, [u8]> {
    match functions(wasm) {
        Ok(functions) if functions.bodies.iter().any(|body| !body.selects.is_empty()) => {
            Cow::Owned(rewritten(wasm, &functions))
        }
        _ => Cow::Borrowed(wasm),
    }
}

fn functions(wasm: &[u8]) -> Result<Functions, BinaryReaderError> {
    let mut functions = Functions::default();
    let mut before = 0;
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload?;
        match &payload {
            Payload::Version { range, .. } => before = range.end,
            Payload::CodeSectionStart { range, .. } => functions.section = before..range.end,
            Payload::CodeSectionEntry(body) => functions.bodies.push(Body {
                range: body.range(),
                selects: selects(body)?,
            }),
            _ => {}
        }
        if let Some((_, range)) = payload.as_section() {
            before = range.end;
        }
    }
    Ok(functions)
}

fn selects(body: &FunctionBody<'_>) -> Result<Vec<usize>, BinaryReaderError> {
    let mut found = Vec::new();
    for operator in body.get_operators_reader()?.into_iter_with_offsets() {
        let (operator, at) = operator?;
        if matches!(
            operator,
            Operator::Select | Operator::TypedSelect { .. } | Operator::TypedSelectMulti { .. }
        ) {
            found.push(at);
        }
    }
    Ok(found)
}

fn rewritten(wasm: &[u8], functions: &Functions) -> Vec<u8> {
    let part = |range: Range<usize>| wasm.get(range).unwrap_or_default();
    let mut section = Vec::with_capacity(functions.section.len());
    number(&mut section, functions.bodies.len());
    for Body { range, selects } in &functions.bodies {
        number(&mut section, range.len() + BETWEEN.len() * selects.len());
        let mut at = range.start;
        for select in selects {
            section.extend_from_slice(part(at..*select));
            section.extend_from_slice(&BETWEEN);
            at = *select;
        }
        section.extend_from_slice(part(at..range.end));
    }
    let mut out = Vec::with_capacity(wasm.len() + section.len());
    out.extend_from_slice(part(0..functions.section.start));
    out.push(CODE);
    number(&mut out, section.len());
    out.extend_from_slice(&section);
    out.extend_from_slice(part(functions.section.end..wasm.len()));
    out
}

/// LEB128.
fn number(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let byte = u8::try_from(value & 0x7f).unwrap_or(0);
        value >>= 7;
        if value == 0 {
            return out.push(byte);
        }
        out.push(byte | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_choices_get_something_before_them_and_the_module_stays_one() {
        let module = |between: &str| {
            let choice = format!("local.get 0 i32.const 7 local.get 0 i32.eqz {between} select");
            let many = format!("{choice} drop ").repeat(100);
            let text = format!(
                "(module (memory 1) (func (param i32) {many}) (func (param i32) (result i32) {choice})
                 (func (result i32) i32.const 27) (data (i32.const 0) \"\\1b\"))"
            );
            wat::parse_str(text).expect("a module")
        };
        let mended = mended(&module("")).into_owned();
        assert_eq!(mended, module("i32.const 0 drop"));
        wasmparser::validate(&mended).expect("valid");
    }

    #[test]
    fn a_module_without_choices_is_left_alone() {
        let wasm = wat::parse_str("(module (func (result i32) i32.const 27))").expect("a module");
        assert!(matches!(mended(&wasm), Cow::Borrowed(_)));
        assert!(matches!(mended(b"none"), Cow::Borrowed(_)));
    }
}
