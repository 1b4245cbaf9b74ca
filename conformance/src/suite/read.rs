//! Reading cases from their files: all mistakes at once, each with its file and line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::case::Case;
use crate::{Error, Result, scratch};

/// Where the cases are.
#[must_use]
pub fn folder() -> PathBuf {
    scratch::workspace().join("conformance/cases")
}

/// Every case below `folder`, in the order of their ids.
///
/// # Errors
/// The mistakes, one after the other.
pub fn all(folder: &Path) -> Result<Vec<Case>> {
    let mut files = Vec::new();
    collect(folder, &mut files)?;
    let (mut cases, mut mistakes) = (BTreeMap::new(), Vec::new());
    for file in files {
        let text =
            std::fs::read_to_string(&file).map_err(|error| Error::failed(file.display(), error))?;
        match one(&file, &text) {
            Ok(case) => {
                if let Some(other) = cases.insert(order(&case.id), case) {
                    mistakes.push(format!("{}: {} is there twice", file.display(), other.id));
                }
            }
            Err(mistake) => mistakes.push(mistake),
        }
    }
    if mistakes.is_empty() {
        return Ok(cases.into_values().collect());
    }
    Err(Error::Failed(mistakes.join("\n")))
}

/// The case in a file's text.
///
/// # Errors
/// What is wrong, beginning with file and, where it is known, line.
pub fn one(file: &Path, text: &str) -> std::result::Result<Case, String> {
    let shown = file.strip_prefix(scratch::workspace()).unwrap_or(file);
    let mut case: Case = serde_saphyr::from_str(text).map_err(|error| {
        let place = error
            .location()
            .map_or_else(String::new, |at| format!(":{}:{}", at.line(), at.column()));
        format!("{}{place}: {}", shown.display(), error.without_snippet())
    })?;
    case.complete();
    let step = case.steps.iter().enumerate().find_map(|(index, step)| {
        let problem = step.problem()?;
        Some(format!("step {}: {problem}", index + 1))
    });
    match step
        .or_else(|| case.problem())
        .or_else(|| misplaced(&case, file))
    {
        Some(problem) => Err(format!("{}: {problem}", shown.display())),
        None => Ok(case),
    }
}

/// Files are found by their ids, so they must be where those say.
fn misplaced(case: &Case, file: &Path) -> Option<String> {
    let name = file.file_name()?.to_str()?;
    let folder = file.parent()?.file_name()?.to_str()?;
    let fits = name
        .strip_prefix(&*case.id)
        .is_some_and(|rest| rest.starts_with('-'));
    (!fits || folder != case.group()).then(|| {
        let (group, id) = (case.group(), &case.id);
        format!("the file of {id} is {group}/{id}-SLUG.yaml")
    })
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let failed = |error| Error::failed(folder.display(), error);
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|end| end == "yaml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(())
}

/// Ids in the order people count: `A-2` before `A-10`, `D-85` before `D-85b`.
#[must_use]
pub fn order(id: &str) -> (String, u32, String) {
    let (group, rest) = id.split_once('-').unwrap_or((id, ""));
    let end = rest
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(rest.len());
    let (number, variant) = rest.split_at(end);
    (
        group.to_owned(),
        number.parse().unwrap_or(u32::MAX),
        variant.to_owned(),
    )
}

#[cfg(test)]
mod tests;
