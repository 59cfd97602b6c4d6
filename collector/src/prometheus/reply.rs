//! The JSON of Prometheus' HTTP API, <https://prometheus.io/docs/prometheus/latest/querying/api/>.

use serde::Deserialize;
use serde::de::{Deserializer, Visitor};
use std::collections::BTreeMap;
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
}

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
    /// Milliseconds and value.
    pub fn plain(self) -> (i64, f64) {
        // The API writes at most three decimals, so rounding gives back the exact millisecond.
        ((self.0 * 1_000.0).round() as i64, self.1.0)
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

    /// The series of a matrix or vector; a scalar is a series without labels.
    pub fn into_series(self) -> Option<Vec<Series>> {
        match self {
            Self::Matrix(all) => Some(
                all.into_iter()
                    .map(|one| Series {
                        labels: one.metric,
                        points: one.values.into_iter().map(Point::plain).collect(),
                    })
                    .collect(),
            ),
            Self::Vector(all) => Some(
                all.into_iter()
                    .map(|one| Series { labels: one.metric, points: one.value.into_iter().map(Point::plain).collect() })
                    .collect(),
            ),
            Self::Scalar(point) => Some(vec![Series { labels: Labels::new(), points: vec![point.plain()] }]),
            Self::String(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_numbers_come_through_as_they_are() {
        let text = r#"{"status":"success","data":{"resultType":"matrix","result":[
            {"metric":{"instance":"a:9100"},"values":[[1.5,"NaN"],[2,"+Inf"],[3,"-Inf"],[4,"1e3"]]}]}}"#;
        let reply: Reply = serde_json::from_str(text).expect("reply");
        let series = reply.data.and_then(Data::into_series).expect("series");
        let points = &series[0].points;
        assert!(points[0].0 == 1_500 && points[0].1.is_nan());
        assert_eq!(&points[1..], [(2_000, f64::INFINITY), (3_000, f64::NEG_INFINITY), (4_000, 1_000.0)]);
    }

    #[test]
    fn an_error_keeps_its_kind_and_its_warnings() {
        let text = r#"{"status":"error","errorType":"bad_data","error":"parse error","warnings":["store is away"]}"#;
        let reply: Reply = serde_json::from_str(text).expect("reply");
        assert_eq!((reply.error_type.as_str(), reply.error.as_str()), ("bad_data", "parse error"));
        assert_eq!(reply.warnings, ["store is away"]);
    }
}
