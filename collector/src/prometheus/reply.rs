//! The JSON of Prometheus' HTTP API, <https://prometheus.io/docs/prometheus/latest/querying/api/>.

use serde::Deserialize;
use serde::de::{Deserializer, Visitor};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A series' labels.
pub type Labels = BTreeMap<String, String>;

/// A series and its points.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Series {
    /// Its labels.
    pub labels: Labels,
    /// Time in UTC milliseconds, value as it came: it may be NaN or infinite.
    pub points: Vec<(i64, f64)>,
}

impl Series {
    /// The value of a label; empty labels are absent labels in Prometheus.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The newest point's value.
    pub fn last(&self) -> Option<f64> {
        self.points.last().map(|(_, value)| *value)
    }
}

/// A whole reply.
#[derive(Debug, Deserialize)]
pub struct Reply {
    /// `success` or `error`.
    pub status: String,
    /// The result of a success.
    pub data: Option<Data>,
    /// Kind of an error.
    #[serde(rename = "errorType", default)]
    pub error_type: String,
    /// Text of an error.
    #[serde(default)]
    pub error: String,
    /// What went only half well, such as a store that did not answer.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// VictoriaMetrics' word that some of its storage nodes did not answer,
    /// <https://docs.victoriametrics.com/victoriametrics/cluster-victoriametrics/#cluster-availability>.
    #[serde(rename = "isPartial", default)]
    pub is_partial: bool,
}

impl Reply {
    /// What the server says of its own answer.
    pub fn notes(&mut self) -> Notes {
        let mut notes = Notes::default();
        for text in std::mem::take(&mut self.warnings) {
            // Annotations of PromQL speak of the query, not of data that is missing. Prometheus before 3 sends those of
            // level `info` among the warnings; later versions keep them in `infos`, which nobody has to read.
            if text.starts_with("PromQL info:") {
                tracing::debug!(text, "the server remarks");
            } else if text.starts_with("PromQL warning:") {
                notes.remarks.insert(text);
            } else {
                notes.missing.insert(text);
            }
        }
        if self.is_partial {
            notes.missing.insert("the answer is partial (`isPartial`): a storage node did not answer".to_owned());
        }
        notes
    }
}

/// What servers say of their answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes {
    /// Why series may be missing.
    pub missing: BTreeSet<String>,
    /// The rest.
    pub remarks: BTreeSet<String>,
}

impl Notes {
    /// Adds what another answer came with.
    pub fn merge(&mut self, other: Self) {
        self.missing.extend(other.missing);
        self.remarks.extend(other.remarks);
    }
}

/// A time that no cluster's history can have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ImpossibleTime(
    /// Seconds since the epoch, as they came.
    pub f64,
);

/// The result by its kind.
#[derive(Debug, Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
pub enum Data {
    /// Points over time.
    Matrix(Vec<MatrixSeries>),
    /// One point per series.
    Vector(Vec<VectorSeries>),
    /// One number.
    Scalar(Point),
    /// One text.
    String((f64, String)),
}

/// A series of a matrix.
#[derive(Debug, Deserialize)]
pub struct MatrixSeries {
    /// Its labels.
    pub metric: Labels,
    /// Its points; absent when the series is a native histogram.
    #[serde(default)]
    pub values: Vec<Point>,
}

/// A series of a vector.
#[derive(Debug, Deserialize)]
pub struct VectorSeries {
    /// Its labels.
    pub metric: Labels,
    /// Its point; absent when the series is a native histogram.
    pub value: Option<Point>,
}

/// Seconds and value.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Point(pub f64, pub Number);

impl Point {
    /// Milliseconds and value. The API writes at most three decimals, so rounding gives back the exact millisecond.
    ///
    /// # Errors
    /// A time outside of the years 2000 to 2199: nobody may compute with it.
    pub fn plain(self) -> Result<(i64, f64), ImpossibleTime> {
        Ok((cluster::moment_from_seconds(self.0).ok_or(ImpossibleTime(self.0))?, self.1.0))
    }
}

/// A number that the API writes as text, since JSON has no NaN and no infinity.
#[derive(Debug, Clone, Copy)]
pub struct Number(pub f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Number;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number written as text")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Number, E> {
                text.parse().map(Number).map_err(|_| E::custom(format!("`{text}` is no number")))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

impl Data {
    /// What the result is, in words.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Matrix(_) => "matrix",
            Self::Vector(_) => "vector",
            Self::Scalar(_) => "scalar",
            Self::String(_) => "string",
        }
    }

    /// The series of a matrix or vector; a scalar is a series without labels, and a text is none.
    ///
    /// # Errors
    /// [`ImpossibleTime`].
    pub fn into_series(self) -> Result<Option<Vec<Series>>, ImpossibleTime> {
        let series = |labels, points: Vec<Point>| {
            Ok(Series { labels, points: points.into_iter().map(Point::plain).collect::<Result<_, _>>()? })
        };
        let all: Result<Vec<Series>, ImpossibleTime> = match self {
            Self::Matrix(all) => all.into_iter().map(|one| series(one.metric, one.values)).collect(),
            Self::Vector(all) => {
                all.into_iter().map(|one| series(one.metric, one.value.into_iter().collect())).collect()
            }
            Self::Scalar(point) => series(Labels::new(), vec![point]).map(|one| vec![one]),
            Self::String(_) => return Ok(None),
        };
        all.map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Reply {
        serde_json::from_str(text).expect("reply")
    }

    #[test]
    fn special_numbers_come_through_as_they_are() {
        let text = r#"{"status":"success","data":{"resultType":"matrix","result":[
            {"metric":{"instance":"a:9100"},"values":[[1767225601.5,"NaN"],[1767225602,"+Inf"],[1767225603,"-Inf"],[1767225604,"1e3"]]}]}}"#;
        let series = read(text).data.expect("data").into_series().expect("times").expect("series");
        let points = &series[0].points;
        assert!(points[0].0 == 1_767_225_601_500 && points[0].1.is_nan());
        let seconds = |second: i64| 1_767_225_600_000 + second * 1_000;
        assert_eq!(&points[1..], [(seconds(2), f64::INFINITY), (seconds(3), f64::NEG_INFINITY), (seconds(4), 1_000.0)]);
    }

    #[test]
    fn a_time_that_cannot_be_is_refused_in_every_kind_of_result() {
        for data in [
            r#"{"resultType":"matrix","result":[{"metric":{},"values":[[-1e300,"1"]]}]}"#,
            r#"{"resultType":"vector","result":[{"metric":{},"value":[1e300,"1"]}]}"#,
            r#"{"resultType":"scalar","result":[0,"1"]}"#,
            r#"{"resultType":"matrix","result":[{"metric":{},"values":[[1767225600000,"1"]]}]}"#,
        ] {
            let data: Data = serde_json::from_str(data).expect("data");
            assert!(data.into_series().is_err());
        }
    }

    #[test]
    fn what_the_server_says_of_its_answer_is_told_apart() {
        let mut reply = read(
            r#"{"status":"success","data":{"resultType":"vector","result":[]},"isPartial":true,"infos":["PromQL info: a"],
            "warnings":["PromQL info: metric might not be a counter","PromQL warning: a mix of histograms and floats","No StoreAPIs matched for this query"]}"#,
        );
        let notes = reply.notes();
        assert_eq!(notes.missing.len(), 2, "{notes:?}");
        assert!(
            notes.missing.iter().any(|text| text.contains("isPartial"))
                && notes.missing.contains("No StoreAPIs matched for this query")
        );
        assert_eq!(notes.remarks.into_iter().collect::<Vec<_>>(), ["PromQL warning: a mix of histograms and floats"]);
    }

    #[test]
    fn an_error_keeps_its_kind_and_its_warnings() {
        let text = r#"{"status":"error","errorType":"bad_data","error":"parse error","warnings":["store is away"]}"#;
        let reply = read(text);
        assert_eq!((reply.error_type.as_str(), reply.error.as_str()), ("bad_data", "parse error"));
        assert_eq!(reply.warnings, ["store is away"]);
    }
}
