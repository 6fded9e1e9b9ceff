//! What the steering program decided about each frame; the names that metrics and people see.

/// Verdicts in the order of `bpf/steer.h`, with their meaning.
pub const VERDICTS: &[(&str, &str)] = &[
    ("pass_not_ip", "Passed to the kernel: neither IPv4 nor IPv6"),
    ("pass_not_tcp", "Passed to the kernel: IP but not TCP"),
    (
        "pass_not_ours",
        "Passed to the kernel: TCP to another address or port",
    ),
    (
        "pass_short",
        "Passed to the kernel: ends inside its headers",
    ),
    (
        "pass_fragment",
        "Passed to the kernel: a fragment of TCP to another address",
    ),
    ("steered", "Handed to a data core"),
    (
        "steered_icmp",
        "Handed to a data core: ICMP, a segment of ours was too big for the path",
    ),
    (
        "drop_no_socket",
        "Dropped: ours, but no data core serves its queue",
    ),
    (
        "drop_fragment",
        "Dropped: a fragment of TCP to one of our addresses",
    ),
    (
        "drop_extension",
        "Dropped: ours, behind IPv6 extension headers",
    ),
];

/// Index of a name in [`VERDICTS`].
pub fn index(name: &str) -> Option<usize> {
    VERDICTS.iter().position(|(known, _)| *known == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The header is the other half of the contract.
    #[test]
    fn names_follow_the_header() {
        let header = include_str!("bpf/steer.h");
        let body = header
            .split("enum verdict {")
            .nth(1)
            .unwrap()
            .split("VERDICTS")
            .next()
            .unwrap();
        let words = body.split(|c: char| !c.is_ascii_uppercase() && c != '_');
        let constants: Vec<String> = words
            .filter(|word| {
                ["PASS_", "DROP_", "STEERED"]
                    .iter()
                    .any(|start| word.starts_with(start))
            })
            .map(str::to_lowercase)
            .collect();
        let names: Vec<&str> = VERDICTS.iter().map(|(name, _)| *name).collect();
        assert_eq!(constants, names);
        assert_eq!(index("steered"), Some(5));
    }
}
