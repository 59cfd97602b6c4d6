//! What Kubernetes takes for names: whatever else comes from a client was not made by an API server.

/// Most bytes of a DNS subdomain, RFC 1123: names of nodes, pods and workloads.
pub const MOST_NAME: usize = 253;
/// Most bytes of a DNS label, RFC 1123: namespaces.
pub const MOST_LABEL: usize = 63;
/// Most bytes of a UID. Kubernetes writes UUIDs, which have 36.
pub const MOST_UID: usize = 64;

/// Whether `text` is a DNS label (RFC 1123): lower-case letters, digits and `-`, which stands at neither end.
pub fn is_dns_label(text: &str) -> bool {
    text.len() <= MOST_LABEL && is_part(text)
}

/// Whether `text` is a DNS subdomain (RFC 1123): labels with dots between them.
pub fn is_dns_subdomain(text: &str) -> bool {
    // Kubernetes limits the whole, and not its labels.
    text.len() <= MOST_NAME && text.split('.').all(is_part)
}

/// Whether `text` may be the UID of an object: printable ASCII, so that it stands on one line of whatever it is written to. Kubernetes makes
/// UUIDs, and says nowhere that they are.
pub fn is_uid(text: &str) -> bool {
    !text.is_empty() && text.len() <= MOST_UID && text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
}

fn is_part(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.bytes().all(is_inner) && !text.starts_with('-') && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_rfc_1123() {
        for name in ["a", "node-1", "ip-10-0-0-1.ec2.internal", "0", "a.b", &"x".repeat(253)] {
            assert!(is_dns_subdomain(name), "{name}");
        }
        for name in [
            "",
            ".",
            "..",
            "a..b",
            "A",
            "-a",
            "a-",
            "a/b",
            "a%2fb",
            "ä",
            "a_b",
            "a\n",
            "a b",
            "a?b",
            "a#",
            &"x".repeat(254),
        ] {
            assert!(!is_dns_subdomain(name), "{name}");
        }
        assert!(is_dns_label(&"x".repeat(63)) && !is_dns_label(&"x".repeat(64)) && !is_dns_label("a.b"));
        assert!(is_uid("5f0c7f56-3f5a-4d8e-9d0b-1f2e3d4c5b6a") && is_uid("uid-web-1"));
        assert!(is_uid("a b") && !is_uid("") && !is_uid("a\n") && !is_uid("a\u{1b}") && !is_uid(&"x".repeat(65)));
    }
}
