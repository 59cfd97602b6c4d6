//! How a command ends: 0 done, 1 failed, 2 wrong use, 3 a quality or validation gate said no.

use std::process::ExitCode;

/// A gate looked at good input and said no. Ends the command with exit code 3.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct GateRefused(pub String);

/// The command was asked for something that makes no sense. Ends it with exit code 2.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct WrongUse(pub String);

/// Runs a command's body and turns its end into an exit code; an error is printed with its whole chain of causes.
pub fn run(body: impl FnOnce() -> anyhow::Result<()>) -> ExitCode {
    match body() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(exit_code(&error))
        }
    }
}

fn exit_code(error: &anyhow::Error) -> u8 {
    if error.chain().any(|cause| cause.is::<GateRefused>()) {
        3
    } else if error.chain().any(|cause| cause.is::<WrongUse>()) {
        2
    } else {
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn a_gate_keeps_its_exit_code_below_other_context() {
        let refused = Err::<(), _>(GateRefused("coverage 0.90 is below 0.95".into())).context("quality of `raw`");
        assert_eq!(exit_code(&refused.expect_err("refused")), 3);
        assert_eq!(exit_code(&anyhow::Error::new(WrongUse("--to is before --from".into()))), 2);
        assert_eq!(exit_code(&anyhow::anyhow!("disk full")), 1);
    }
}
