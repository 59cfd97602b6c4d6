//! What the extender does with the API server, and which of the files that we ship lets it.

use crate::rules::Rules;

/// What it does in any case.
const ROLE: &str = "deploy/scheduler-extender/rbac.yaml";
/// What it does with `annotate = true`.
const ANNOTATE: &str = "deploy/scheduler-extender/rbac-annotate.yaml";
/// What it does with `quarantine.taint = true`.
const QUARANTINE: &str = "deploy/scheduler-extender/rbac-quarantine.yaml";

/// Something that has to be allowed. All of it is of the core API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Right {
    pub verb: &'static str,
    pub resource: &'static str,
    /// The file that grants it.
    pub file: &'static str,
}

const ALL: [Right; 8] = [
    Right { verb: "list", resource: "pods", file: ROLE },
    Right { verb: "watch", resource: "pods", file: ROLE },
    Right { verb: "list", resource: "nodes", file: ROLE },
    Right { verb: "watch", resource: "nodes", file: ROLE },
    Right { verb: "create", resource: "events", file: ROLE },
    Right { verb: "patch", resource: "pods", file: ANNOTATE },
    Right { verb: "get", resource: "nodes", file: QUARANTINE },
    Right { verb: "patch", resource: "nodes", file: QUARANTINE },
];

/// What has to be allowed under these rules.
pub(super) fn needed(rules: &Rules) -> impl Iterator<Item = Right> + '_ {
    ALL.into_iter().filter(|right| match right.file {
        ANNOTATE => rules.annotate,
        QUARANTINE => rules.quarantine.taint,
        _ => true,
    })
}

/// What to do about rights that are not there.
pub(super) fn advice(lacking: &[Right]) -> String {
    let mut files: Vec<&str> = lacking.iter().map(|right| right.file).collect();
    files.sort_unstable();
    files.dedup();
    format!("apply {}", files.join(" and "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde_yaml_ng::{Deserializer, Value};
    use std::collections::BTreeSet;

    /// What the role of a file grants.
    fn granted(file: &str) -> BTreeSet<(String, String)> {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
        let text = std::fs::read_to_string(&path).expect(file);
        let mut granted = BTreeSet::new();
        for document in Deserializer::from_str(&text) {
            let object = Value::deserialize(document).expect(file);
            let words = |rule: &Value, key: &str| -> Vec<String> {
                let list = rule.get(key).and_then(Value::as_sequence).expect(key);
                list.iter().map(|word| word.as_str().expect("a word").to_owned()).collect()
            };
            for rule in object.get("rules").and_then(Value::as_sequence).into_iter().flatten() {
                assert_eq!(words(rule, "apiGroups"), [""], "{file}");
                let verbs = words(rule, "verbs");
                let each =
                    |resource: &String| verbs.iter().map(|verb| (verb.clone(), resource.clone())).collect::<Vec<_>>();
                granted.extend(words(rule, "resources").iter().flat_map(each));
            }
        }
        granted
    }

    #[test]
    fn each_file_grants_what_it_is_named_for_and_nothing_else() {
        for file in [ROLE, ANNOTATE, QUARANTINE] {
            let rights = ALL.into_iter().filter(|right| right.file == file);
            let wanted: BTreeSet<_> = rights.map(|right| (right.verb.to_owned(), right.resource.to_owned())).collect();
            assert_eq!(granted(file), wanted, "{file}");
        }
    }

    #[test]
    fn rights_are_asked_for_where_the_rules_need_them() {
        let patches = |rules: &Rules| needed(rules).filter(|right| right.verb == "patch").collect::<Vec<_>>();
        let mut rules = Rules::default();
        assert_eq!((patches(&rules), needed(&rules).count()), (Vec::new(), 5), "by default nothing is changed");
        rules.annotate = true;
        assert_eq!(advice(&patches(&rules)), "apply deploy/scheduler-extender/rbac-annotate.yaml");
        rules.quarantine.taint = true;
        let both =
            "apply deploy/scheduler-extender/rbac-annotate.yaml and deploy/scheduler-extender/rbac-quarantine.yaml";
        assert_eq!(advice(&patches(&rules)), both);
    }
}
