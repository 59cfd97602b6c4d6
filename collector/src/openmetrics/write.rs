//! Writing OpenMetrics text: one family after the other, samples of a series in order of time, `# EOF` at the end.

use std::fmt::Write as _;
use std::io::{self, Write};

/// Writes one file's text.
pub struct Writer<W> {
    output: W,
    /// The part of a line before the value.
    series: String,
}

impl<W: Write> Writer<W> {
    /// Begins a text.
    pub const fn new(output: W) -> Self {
        Self { output, series: String::new() }
    }

    /// Begins a family. A counter's family has no `_total`; its samples have.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn family(&mut self, name: &str, kind: &str, help: &str) -> io::Result<()> {
        writeln!(self.output, "# TYPE {name} {kind}\n# HELP {name} {help}")
    }

    /// Begins a series: the samples that follow have this name and these labels.
    pub fn series(&mut self, name: &str, labels: &[(&str, &str)]) {
        self.series.clear();
        self.series.push_str(name);
        for (place, (label, value)) in labels.iter().enumerate() {
            self.series.push_str(if place == 0 { "{" } else { "," });
            self.series.push_str(label);
            self.series.push_str("=\"");
            for character in value.chars() {
                match character {
                    '\\' => self.series.push_str("\\\\"),
                    '"' => self.series.push_str("\\\""),
                    '\n' => self.series.push_str("\\n"),
                    plain => self.series.push(plain),
                }
            }
            self.series.push('"');
        }
        if !labels.is_empty() {
            self.series.push('}');
        }
    }

    /// Writes a sample of the series, `value` with `places` decimals. A missing value (NaN) writes nothing.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn sample(&mut self, ts: i64, value: f64, places: usize) -> io::Result<()> {
        if value.is_nan() {
            return Ok(());
        }
        let before = self.series.len();
        let (seconds, rest) = (ts.div_euclid(1_000), ts.rem_euclid(1_000));
        // Writing into a String cannot fail.
        let _ = write!(self.series, " {value:.places$} {seconds}");
        if rest > 0 {
            let _ = write!(self.series, ".{rest:03}");
        }
        self.series.push('\n');
        self.output.write_all(self.series.as_bytes())?;
        self.series.truncate(before);
        Ok(())
    }

    /// Ends the text.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn end(mut self) -> io::Result<()> {
        self.output.write_all(b"# EOF\n")
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse::Reader;
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let mut text = Vec::new();
        let mut writer = Writer::new(&mut text);
        writer.family("requests", "counter", "Requests.").expect("written");
        writer.series("requests_total", &[("path", "a\"b\\c\nd"), ("job", "x")]);
        writer.sample(1_500, 2.0, 0).expect("written");
        writer.sample(2_000, f64::NAN, 0).expect("nothing");
        writer.sample(3_000, 2.345, 2).expect("written");
        writer.end().expect("written");
        let mut reader = Reader::new(text.as_slice());
        let mut values = Vec::new();
        while let Some(sample) = reader.next_sample().expect("good text") {
            assert_eq!(sample.label("path"), "a\"b\\c\nd");
            values.push((sample.ts, sample.value));
        }
        assert_eq!(values, [(Some(1_500), 2.0), (Some(3_000), 2.35)]);
    }
}
