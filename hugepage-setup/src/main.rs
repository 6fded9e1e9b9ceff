//! Reserves huge pages.
fn main() {}
