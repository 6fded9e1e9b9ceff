//! The stages, in the order they are done; undone in the opposite one. Each has `check` (needs no
//! rights), `dry_run`, `init` and `fini`.

pub(crate) mod mount;
pub(crate) mod pages;
