//! The runner's own tests: real processes, fake steps.

mod caching;
mod definitions;
mod failures;
mod fixture;
mod interruption;
mod kubeflow;
mod running;
