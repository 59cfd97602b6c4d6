//! What the tests of several modules share.

use clap::{Args, FromArgMatches};
use serde::Serialize;
use std::fmt::Debug;

/// Holds a group of settings to one set of keys and defaults, whether they come from flags or from the file.
pub(crate) fn assert_flags_and_file_agree<S: Args + FromArgMatches + Serialize + Default + PartialEq + Debug>() {
    let command = S::augment_args(clap::Command::new("test"));
    let ids: Vec<String> = command.get_arguments().map(|argument| argument.get_id().to_string()).collect();
    let matches = command.get_matches_from(["test"]);
    assert_eq!(S::from_arg_matches(&matches).expect("parsed"), S::default());
    let table = serde_json::to_value(S::default()).expect("written");
    for key in table.as_object().expect("a table").keys() {
        assert!(ids.contains(key), "`{key}` has no flag");
    }
}
