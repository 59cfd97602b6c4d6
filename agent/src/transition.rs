//! What a learner learns from.

/// Why a stretch of experience ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct End {
    /// There is nothing after it: the value of what follows is 0.
    pub terminated: bool,
    /// Watching ended while it went on: the value of what follows is that of the last state seen.
    pub truncated: bool,
}

/// One step of experience after an action.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What came of it.
    pub reward: f32,
    /// Worth of the next step's reward relative to this one's, 0..1. Steps may last differently long.
    pub discount: f32,
    /// The rows of the actions that could be taken then, one after the other; empty when nobody looked.
    pub next: Vec<f32>,
    /// Whether it is the last.
    pub end: End,
}

/// One learning example.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Transition {
    /// The row of the action that was taken.
    pub row: Vec<f32>,
    /// Discounted sum of the rewards of n steps.
    pub reward: f32,
    /// Worth of the value after them.
    pub discount: f32,
    /// The rows of the actions that could be taken then.
    pub next: Vec<f32>,
    /// How it ended.
    pub end: End,
}

/// The steps give no return.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoReturn {
    /// There are none.
    #[error("there are no steps")]
    NoSteps,
    /// It goes on, but nobody saw how it stood.
    #[error("the steps go on or were cut off, but no state was seen at their end")]
    NoNext,
}

/// The n-step return from the first of `steps` (Sutton and Barto, 7.1), over at most `n` of them:
/// `r₀ + γ₀ r₁ + γ₀ γ₁ r₂ + …`, and what follows is worth `γ₀ γ₁ …` times its value.
///
/// Where the n-th step was not looked at, the last one before it that was is taken, or else the first after it.
///
/// # Errors
/// [`NoReturn`] when there is no end to bootstrap from.
pub fn n_step(row: &[f32], steps: &[Step], n: usize) -> Result<Transition, NoReturn> {
    if steps.is_empty() {
        return Err(NoReturn::NoSteps);
    }
    let usable = |step: &Step| step.end.terminated || !step.next.is_empty();
    let within = steps.len().min(n.max(1));
    // A terminated step is the last, so nothing of value is skipped.
    let last = (0..within)
        .rev()
        .find(|at| usable(&steps[*at]))
        .or_else(|| (within..steps.len()).find(|at| usable(&steps[*at])));
    let last = last.ok_or(NoReturn::NoNext)?;
    let (mut reward, mut discount) = (0.0, 1.0);
    for step in &steps[..=last] {
        reward += discount * step.reward;
        discount *= step.discount;
    }
    let step = &steps[last];
    Ok(Transition { row: row.to_vec(), reward, discount, next: step.next.clone(), end: step.end })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(reward: f32, next: &[f32]) -> Step {
        Step { reward, discount: 0.5, next: next.to_vec(), end: End::default() }
    }

    #[test]
    fn a_return_by_hand() {
        let steps = [step(1.0, &[1.0]), step(2.0, &[2.0]), step(4.0, &[3.0])];
        let two = n_step(&[9.0], &steps, 2).expect("a return");
        assert_eq!((two.reward, two.discount, two.next), (2.0, 0.25, vec![2.0]));
        let all = n_step(&[9.0], &steps, 10).expect("a return");
        assert_eq!((all.reward, all.discount, all.next), (3.0, 0.125, vec![3.0]));
    }

    #[test]
    fn terminated_needs_no_state_and_truncated_does() {
        let over = Step { end: End { terminated: true, truncated: false }, ..step(1.0, &[]) };
        let cut = Step { end: End { terminated: false, truncated: true }, ..step(1.0, &[]) };
        assert!(n_step(&[0.0], &[over], 3).expect("a return").end.terminated);
        assert_eq!(n_step(&[0.0], std::slice::from_ref(&cut), 3), Err(NoReturn::NoNext));
        assert_eq!(n_step(&[0.0], &[], 3), Err(NoReturn::NoSteps));
        // The last state that was seen stands in for the end.
        let seen = n_step(&[0.0], &[step(1.0, &[7.0]), cut], 3).expect("a return");
        assert_eq!((seen.reward, seen.next), (1.0, vec![7.0]));
        let late = n_step(&[0.0], &[step(1.0, &[]), step(1.0, &[8.0])], 1).expect("a return");
        assert_eq!((late.reward, late.next), (1.5, vec![8.0]));
    }
}
