//! Where a key stands in the file, so that a refusal can name the line.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The line, from 1, of the byte at `position`.
pub(super) fn line_of_byte(text: &str, position: usize) -> usize {
    text.bytes()
        .take(position)
        .filter(|&byte| byte == b'\n')
        .count()
        + 1
}

/// The line of `key` (`table.key`, `table[1].key`); none when the text does not hold it.
pub(super) fn line_of_key(text: &str, key: &str) -> Option<usize> {
    let document = DeTable::parse(text).ok()?;
    let mut table = document.get_ref();
    let mut found = None;
    for step in key.split('.') {
        let (name, index) = split_index(step);
        let (key, value) = table.iter().find(|(key, _)| key.get_ref() == name)?;
        found = Some(key.span().start);
        let value = match index {
            Some(index) => element(value, index)?,
            None => value,
        };
        if let Some(inner) = value.get_ref().as_table() {
            table = inner;
        }
    }
    found.map(|position| line_of_byte(text, position))
}

fn element<'v, 'i>(
    value: &'v Spanned<DeValue<'i>>,
    index: usize,
) -> Option<&'v Spanned<DeValue<'i>>> {
    value.get_ref().as_array()?.get(index)
}

fn split_index(step: &str) -> (&str, Option<usize>) {
    match step.strip_suffix(']').and_then(|s| s.split_once('[')) {
        Some((name, index)) => (name, index.parse().ok()),
        None => (step, None),
    }
}
