//! A strict, streaming reader of OpenMetrics text.
//!
//! Spec: <https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md>. Lines are read one at a
//! time, so a file may be larger than memory; every error names its line. In one thing it is more lenient than the specification: spaces and a
//! carriage return at the end of a line, which editors and copies through Windows leave there, are passed over.

use std::borrow::Cow;
use std::collections::HashSet;
use std::io::{self, BufRead};

/// What is wrong with a text, and where.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// The text breaks the format.
    #[error("line {line}: {problem}")]
    Syntax {
        /// Counted from 1.
        line: u64,
        /// What is wrong.
        problem: String,
    },
    /// The text cannot be read.
    #[error("line {line}: failed to read")]
    Read {
        /// Counted from 1.
        line: u64,
        /// Why.
        source: io::Error,
    },
}

/// A label's name and value.
pub type Label<'a> = (&'a str, Cow<'a, str>);

/// One sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample<'a> {
    /// The metric's name, suffix included.
    pub name: &'a str,
    /// In the order of the text.
    pub labels: Vec<Label<'a>>,
    /// May be NaN or infinite.
    pub value: f64,
    /// In milliseconds; `None` when the line has no time.
    pub ts: Option<i64>,
    /// Its line, counted from 1.
    pub line: u64,
}

impl Sample<'_> {
    /// The value of a label; empty when it is absent, which means the same to Prometheus.
    pub fn label(&self, name: &str) -> &str {
        self.labels.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value.as_ref())
    }
}

/// The types that a family may have.
const TYPES: [&str; 8] = ["unknown", "gauge", "counter", "stateset", "info", "histogram", "gaugehistogram", "summary"];
/// A longer line is no metric but damage; without a limit it would fill the memory.
const MAX_LINE_BYTES: usize = 1 << 20;

/// Reads samples one by one.
pub struct Reader<R> {
    input: R,
    line: Vec<u8>,
    number: u64,
    family: String,
    kind: &'static str,
    seen: HashSet<String>,
    ended: bool,
}

impl<R: BufRead> Reader<R> {
    /// Begins at the first line.
    pub fn new(input: R) -> Self {
        Self {
            input,
            line: Vec::new(),
            number: 0,
            family: String::new(),
            kind: "unknown",
            seen: HashSet::new(),
            ended: false,
        }
    }

    /// The number of the line that was read last, counted from 1.
    pub const fn line_number(&self) -> u64 {
        self.number
    }

    /// The line that was read last, without its end.
    pub fn line(&self) -> &[u8] {
        &self.line
    }

    /// The next sample; `None` after `# EOF`.
    ///
    /// # Errors
    /// When a line breaks the format, or the text ends without `# EOF`, which is how a cut file looks.
    pub fn next_sample(&mut self) -> Result<Option<Sample<'_>>, ParseError> {
        loop {
            if !self.next_line()? {
                return if self.ended {
                    Ok(None)
                } else {
                    Err(self.error("the text ends without `# EOF`. The file is cut off"))
                };
            }
            if self.ended {
                return Err(self.error("text after `# EOF`"));
            }
            if self.line.first() != Some(&b'#') {
                break;
            }
            self.comment()?;
        }
        let number = self.number;
        let syntax = |problem: String| ParseError::Syntax { line: number, problem };
        let text = std::str::from_utf8(&self.line).map_err(|error| syntax(format!("not UTF-8: {error}")))?;
        if text.is_empty() {
            return Err(syntax("an empty line, which OpenMetrics does not have".to_owned()));
        }
        let sample = Sample { line: number, ..sample(text).map_err(syntax)? };
        if !in_family(sample.name, &self.family, self.kind) {
            // A sample without metadata is a family of its own, of unknown type.
            if !self.seen.insert(sample.name.to_owned()) {
                return Err(syntax(format!(
                    "family of `{}` comes a second time, families must not be mixed",
                    sample.name
                )));
            }
            sample.name.clone_into(&mut self.family);
            self.kind = "unknown";
        }
        Ok(Some(sample))
    }

    /// Reads a line without its end into the buffer; `false` at the end of the text.
    fn next_line(&mut self) -> Result<bool, ParseError> {
        self.line.clear();
        self.number += 1;
        let number = self.number;
        let limit = MAX_LINE_BYTES as u64 + 1;
        let mut limited = io::Read::take(&mut self.input, limit);
        let count =
            limited.read_until(b'\n', &mut self.line).map_err(|source| ParseError::Read { line: number, source })?;
        if count == 0 {
            self.number -= 1;
            return Ok(false);
        }
        let is_whole = self.line.last() == Some(&b'\n');
        if !is_whole && count as u64 == limit {
            return Err(self.error(&format!("longer than {MAX_LINE_BYTES} bytes, the limit")));
        }
        while self.line.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r' | b' ' | b'\t')) {
            self.line.pop();
        }
        if !is_whole && self.line != b"# EOF" {
            return Err(self.error("the text ends within a line. The file is cut off"));
        }
        Ok(true)
    }

    fn comment(&mut self) -> Result<(), ParseError> {
        if self.line == b"# EOF" {
            self.ended = true;
            return Ok(());
        }
        let text = std::str::from_utf8(&self.line).map_err(|error| self.error(&format!("not UTF-8: {error}")))?;
        let mut words = text.splitn(4, ' ');
        let (_, keyword, name, rest) = (words.next(), words.next(), words.next().unwrap_or_default(), words.next());
        let Some(keyword @ ("TYPE" | "HELP" | "UNIT")) = keyword.filter(|_| text.starts_with("# ")) else {
            return Err(self.error("a comment is `# TYPE`, `# HELP`, `# UNIT` or `# EOF`"));
        };
        if !is_name(name, true) {
            return Err(self.error(&format!("`{name}` is no metric name")));
        }
        let kind = match (keyword, rest) {
            ("TYPE", Some(kind)) => {
                let known = TYPES.iter().find(|known| **known == kind).copied();
                Some(known.ok_or_else(|| self.error(&format!("`{kind}` is no metric type")))?)
            }
            ("TYPE", None) => return Err(self.error("`# TYPE` needs a type")),
            _ => None,
        };
        let name = name.to_owned();
        if name != self.family {
            if !self.seen.insert(name.clone()) {
                return Err(self.error(&format!("family of `{name}` comes a second time, families must not be mixed")));
            }
            self.family = name;
            self.kind = "unknown";
        }
        if let Some(kind) = kind {
            self.kind = kind;
        }
        Ok(())
    }

    fn error(&self, problem: &str) -> ParseError {
        ParseError::Syntax { line: self.number.max(1), problem: problem.to_owned() }
    }
}

/// Whether a sample of this name belongs to the family.
fn in_family(name: &str, family: &str, kind: &str) -> bool {
    let Some(suffix) = name.strip_prefix(family).filter(|_| !family.is_empty()) else { return false };
    match kind {
        "counter" => matches!(suffix, "_total" | "_created"),
        "info" => suffix == "_info",
        "histogram" => matches!(suffix, "_bucket" | "_count" | "_sum" | "_created"),
        "gaugehistogram" => matches!(suffix, "_bucket" | "_gcount" | "_gsum"),
        "summary" => matches!(suffix, "" | "_count" | "_sum" | "_created"),
        _ => suffix.is_empty(),
    }
}

/// `[a-zA-Z_:][a-zA-Z0-9_:]*`; label names have no colon.
fn is_name(text: &str, colon: bool) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || (colon && byte == b':');
    text.bytes().all(fits) && text.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

/// Reads `name{labels} value [time] [# exemplar]`.
fn sample(text: &str) -> Result<Sample<'_>, String> {
    let end = text.find(['{', ' ']).ok_or_else(|| format!("`{}` has no value", shown(text)))?;
    let (name, mut rest) = text.split_at(end);
    if !is_name(name, true) {
        return Err(format!("`{}` is no metric name", shown(name)));
    }
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = read_labels(inside, &mut labels)?;
    }
    let rest = rest.strip_prefix(' ').ok_or("a space must follow the name and labels")?;
    // Exemplars tell of single requests; nothing here needs them.
    let (rest, exemplar) = rest.split_once(" # ").map_or((rest, None), |(rest, exemplar)| (rest, Some(exemplar)));
    if exemplar.is_some_and(|exemplar| !exemplar.starts_with('{')) {
        return Err("an exemplar begins with `{`".into());
    }
    let mut words = rest.split(' ');
    let value = words.next().unwrap_or_default();
    let value = number(value).ok_or_else(|| format!("`{}` is no number", shown(value)))?;
    let ts = match words.next() {
        None => None,
        Some(time) => Some(milliseconds(time).ok_or_else(|| format!("`{}` is no time in seconds", shown(time)))?),
    };
    if words.next().is_some() {
        return Err("more than a value and a time".into());
    }
    Ok(Sample { name, labels, value, ts, line: 0 })
}

/// Reads `a="b",c="d"}` and returns what follows.
fn read_labels<'a>(mut text: &'a str, labels: &mut Vec<Label<'a>>) -> Result<&'a str, String> {
    if let Some(rest) = text.strip_prefix('}') {
        return Ok(rest);
    }
    loop {
        let (name, rest) = text.split_once("=\"").ok_or("a label is `name=\"value\"`")?;
        if !is_name(name, false) {
            return Err(format!("`{}` is no label name", shown(name)));
        }
        if labels.iter().any(|(known, _)| *known == name) {
            return Err(format!("label `{name}` comes twice"));
        }
        let (value, rest) = read_value(rest)?;
        labels.push((name, value));
        if let Some(rest) = rest.strip_prefix('}') {
            return Ok(rest);
        }
        text = rest.strip_prefix(',').ok_or("after a label comes `,` or `}`")?;
    }
}

/// Reads a label's value up to its closing quote, and returns what follows.
fn read_value(text: &str) -> Result<(Cow<'_, str>, &str), String> {
    let end = text.find(['"', '\\']).ok_or("a label's value has no closing quote")?;
    if text[end..].starts_with('"') {
        return Ok((Cow::Borrowed(&text[..end]), &text[end + 1..]));
    }
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((Cow::Owned(value), &text[at + 1..])),
            '\\' => value.push(match characters.next() {
                Some((_, 'n')) => '\n',
                Some((_, escaped @ ('\\' | '"'))) => escaped,
                _ => return Err("after `\\` comes `\\`, `\"` or `n`".into()),
            }),
            plain => value.push(plain),
        }
    }
    Err("a label's value has no closing quote".into())
}

/// A decimal number or one of the spec's words; Rust alone would also take `infinity` and `nan` in any case.
fn number(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "+Inf" | "Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        _ if text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E')) => {
            text.parse().ok()
        }
        _ => None,
    }
}

/// Seconds, with a part of a second as decimals, in milliseconds.
fn milliseconds(text: &str) -> Option<i64> {
    let ms = number(text)? * 1_000.0;
    // A float counts single milliseconds up to here, far beyond any real time.
    (ms.abs() < 9e15).then_some(ms.round() as i64)
}

/// The beginning of a text, for messages.
fn shown(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(60) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Read = (String, Vec<(String, String)>, f64, Option<i64>);

    fn read(text: &[u8]) -> Result<Vec<Read>, String> {
        let mut reader = Reader::new(text);
        let mut all = Vec::new();
        while let Some(sample) = reader.next_sample().map_err(|error| error.to_string())? {
            let labels = sample.labels.iter().map(|(name, value)| ((*name).to_owned(), value.to_string())).collect();
            all.push((sample.name.to_owned(), labels, sample.value, sample.ts));
        }
        Ok(all)
    }

    #[test]
    fn samples_are_read_with_labels_escapes_and_times() {
        let text = concat!(
            "# HELP node_cpu_seconds Seconds the CPUs spent in each mode.\n",
            "# TYPE node_cpu_seconds counter\n",
            "# UNIT node_cpu_seconds seconds\n",
            "node_cpu_seconds_total{cpu=\"0\",mode=\"a\\\"b\\\\c\\nd\"} 1.5e3 1700000000.25 # {trace=\"x\"} 1\n",
            "node_cpu_seconds_created{} 1\n",
            "# TYPE up gauge\n",
            "up 1\n",
            "plain NaN -1\n",
            "# EOF\n",
        );
        let all = read(text.as_bytes()).expect("good text");
        assert_eq!(all.len(), 4);
        assert_eq!(all[0].1, [("cpu".to_owned(), "0".to_owned()), ("mode".to_owned(), "a\"b\\c\nd".to_owned())]);
        assert_eq!((all[0].2, all[0].3), (1_500.0, Some(1_700_000_000_250)));
        assert_eq!((all[2].0.as_str(), all[2].3), ("up", None));
        assert!(all[3].2.is_nan() && all[3].3 == Some(-1_000));
    }

    #[test]
    fn what_stands_at_the_end_of_a_line_unseen_is_passed_over() {
        let text = "# TYPE up gauge\nup{a=\"b \"} 1 1700000000\n# EOF\n";
        let plain = read(text.as_bytes());
        assert_eq!(plain.as_ref().map(Vec::len), Ok(1));
        assert_eq!(plain.as_ref().map(|all| all[0].1[0].1.as_str()), Ok("b "));
        for end in ["\r\n", " \n", "\t \r\n"] {
            assert_eq!(read(text.replace('\n', end).as_bytes()), plain, "{end:?}");
        }
        assert_eq!(read(text.trim_end().as_bytes()), plain, "`# EOF` may end the text");
        assert!(read(b"up 1\r\n\r\n# EOF\r\n").expect_err("blank").contains("line 2: an empty line"));
    }

    #[test]
    fn what_breaks_the_format_is_refused_with_its_line() {
        for (text, line, named) in [
            ("up 1\n", 1, "cut off"),
            ("up 1\n# EO", 2, "cut off"),
            ("up 1\n# EOF\nup 2\n", 3, "after `# EOF`"),
            ("up\n# EOF\n", 1, "no value"),
            ("1up 1\n# EOF\n", 1, "no metric name"),
            ("up one\n# EOF\n", 1, "`one`"),
            ("up infinity\n# EOF\n", 1, "`infinity`"),
            ("up 1 soon\n# EOF\n", 1, "`soon`"),
            ("up 1 2 3\n# EOF\n", 1, "more than"),
            ("up{a=\"1\",a=\"2\"} 1\n# EOF\n", 1, "twice"),
            ("up{a=\"1} 1\n# EOF\n", 1, "closing quote"),
            ("up{a=\"\\t\"} 1\n# EOF\n", 1, "after `\\`"),
            ("up{a=\"1\"}1\n# EOF\n", 1, "a space"),
            ("up 1\n\n# EOF\n", 2, "an empty line"),
            ("# a remark\n# EOF\n", 1, "a comment is"),
            ("# TYPE up gouge\n# EOF\n", 1, "`gouge`"),
            ("# TYPE a gauge\na 1\n# TYPE b gauge\nb 1\na 2\n# EOF\n", 5, "second time"),
            ("# TYPE a counter\na 1\nb 1\na 2\n# EOF\n", 2, "second time"),
        ] {
            let error = read(text.as_bytes()).expect_err(text);
            assert!(error.starts_with(&format!("line {line}:")) && error.contains(named), "{text:?}: {error}");
        }
        assert!(read(b"up{a=\"\xff\"} 1\n# EOF\n").expect_err("bytes").contains("UTF-8"));
        let long = [b"up ".as_slice(), &vec![b'1'; MAX_LINE_BYTES], b"\n# EOF\n"].concat();
        assert!(read(&long).expect_err("long").contains("limit"));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }

        #[test]
        fn no_line_of_metric_letters_panics(text in "[a-z{}\"=,\\\\# 0-9.+\n]{0,80}") {
            let _ = read(text.as_bytes());
        }

        #[test]
        fn any_label_value_survives(value in "\\PC{0,20}", number in any::<f64>()) {
            let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let shown = if number.is_nan() { "NaN".to_owned() } else if number.is_infinite() { format!("{number:+}").replace("inf", "Inf") } else { format!("{number:e}") };
            let all = read(format!("up{{a=\"{escaped}\"}} {shown}\n# EOF\n").as_bytes()).expect("good text");
            prop_assert_eq!(&all[0].1[0].1, &value);
            prop_assert!(all[0].2 == number || number.is_nan());
        }
    }
}
