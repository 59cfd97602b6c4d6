//! JSON lines in, JSON lines out.

use super::{Engine, Origin};
use std::io::{self, BufRead, Read, Write};
use std::sync::Mutex;

/// A longer line is no reading.
pub const LONGEST_LINE: usize = 1 << 20;

/// Answers every line of `input` on `output` until the input ends. Empty lines are passed over. What was answered is
/// written out whenever no further line is waiting, so that nobody waits for a full buffer.
///
/// # Errors
/// When the input cannot be read or the output not written. A reader that went away ends the stream without an error.
pub fn answer_lines(engine: &Mutex<Engine>, mut input: impl BufReadPeek, mut output: impl Write) -> io::Result<()> {
    let mut line = Vec::new();
    let mut number = 0;
    loop {
        line.clear();
        let read = input.by_ref().take(LONGEST_LINE as u64 + 1).read_until(b'\n', &mut line)?;
        if read == 0 {
            return gone_is_fine(output.flush());
        }
        number += 1;
        let is_too_long = line.len() > LONGEST_LINE && line.last() != Some(&b'\n');
        if is_too_long {
            skip_line(&mut input)?;
        }
        let text = line.trim_ascii();
        if text.is_empty() {
            continue;
        }
        let answer = {
            let Ok(mut engine) = engine.lock() else { return Err(io::Error::other("the engine has failed")) };
            if is_too_long {
                engine.refuse(Origin::Line(number), "too_long", &format!("it is longer than {LONGEST_LINE} bytes"))
            } else {
                engine.answer(text, Origin::Line(number))
            }
        };
        if let Err(error) = writeln!(output, "{}", answer.text) {
            return gone_is_fine(Err(error));
        }
        if !input.has_waiting()
            && let Err(error) = output.flush()
        {
            return gone_is_fine(Err(error));
        }
    }
}

/// A reader that knows whether more was read than was asked for yet.
pub trait BufReadPeek: BufRead {
    /// Whether bytes are waiting in the buffer.
    fn has_waiting(&self) -> bool;
}

impl<R: Read> BufReadPeek for io::BufReader<R> {
    fn has_waiting(&self) -> bool {
        !self.buffer().is_empty()
    }
}

fn skip_line(input: &mut impl BufRead) -> io::Result<()> {
    loop {
        let buffer = input.fill_buf()?;
        if buffer.is_empty() {
            return Ok(());
        }
        match buffer.iter().position(|byte| *byte == b'\n') {
            Some(end) => {
                input.consume(end + 1);
                return Ok(());
            }
            None => {
                let all = buffer.len();
                input.consume(all);
            }
        }
    }
}

fn gone_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
