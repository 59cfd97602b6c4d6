//! Empty on purpose: this crate only unites the features of the dependencies, see its Cargo.toml.
