//! Deep Q-learning.
